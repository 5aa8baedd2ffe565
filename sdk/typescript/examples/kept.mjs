/**
 * Leaves a file to be worked on, and fetches the result another time: node kept.mjs URL leave TYPE FILE
 * prints a job, node kept.mjs URL fetch JOB RESULT waits for it. The key is in NFRX_API_KEY.
 */

import { createWriteStream, openAsBlob } from "node:fs";
import { pipeline } from "node:stream/promises";

import { Client } from "nfrx";

const [url, what, ...rest] = process.argv.slice(2);
const client = new Client(url, { apiKey: process.env.NFRX_API_KEY });
if (what === "leave") {
  const [type, source] = rest;
  const job = await client.create(type, {}, { keep: true, payloadKeys: ["payload"] });
  await client.store(job, await openAsBlob(source));
  console.log(job);
} else {
  const [job, target] = rest;
  for await (const event of client.watch(job)) {
    if (event.kind === "status" && event.job.error !== null) throw new Error(`${event.job.status}: ${event.job.error.message}`);
  }
  await pipeline(await client.stored(job), createWriteStream(target));
}
