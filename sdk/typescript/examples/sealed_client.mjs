/** Sends bytes that only one worker can read: node sealed_client.mjs URL TYPE FILE WORKERS_KEY. */

import { openAsBlob } from "node:fs";

import { Client } from "nfrx";
import { Identity, X25519Seal } from "nfrx/sealed";

const [url, type, source, workersKey] = process.argv.slice(2);
const seal = new X25519Seal(await Identity.generate(), [workersKey]);
const client = new Client(url, { apiKey: process.env.NFRX_API_KEY });
const outcome = await client.run(type, await openAsBlob(source), { seal, contentType: "text/plain" });
process.stdout.write(outcome.bytes);
