/** Sends a file to be worked on: node client.mjs URL TYPE FILE RESULT, the key in NFRX_API_KEY. */

import { openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";

import { Client } from "nfrx";

const [url, type, source, target] = process.argv.slice(2);
const client = new Client(url, { apiKey: process.env.NFRX_API_KEY });
const onStatus = (job) => console.error(job.status, job.progress);
const outcome = await client.run(type, await openAsBlob(source), { onStatus });
await writeFile(target, outcome.bytes);
