/** Passes a file on: node transfer.mjs URL send FILE, then node transfer.mjs URL receive ID FILE. */

import { createWriteStream, openAsBlob } from "node:fs";
import { pipeline } from "node:stream/promises";

import { Client } from "nfrx";

const [url, what, ...rest] = process.argv.slice(2);
const { transfers } = new Client(url, { apiKey: process.env.NFRX_API_KEY });
if (what === "send") {
  const channel = await transfers.create();
  console.log(channel.id);
  await transfers.send(channel, await openAsBlob(rest[0]));
} else {
  await pipeline(await transfers.receive(rest[0]), createWriteStream(rest[1]));
}
