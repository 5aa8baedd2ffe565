/** Turns text into capitals: node worker.mjs URL TYPE [JOBS], the key in NFRX_CLIENT_KEY. */

import { Worker } from "nfrx";

const [url, type, jobs] = process.argv.slice(2);
const worker = new Worker(url, { clientKey: process.env.NFRX_CLIENT_KEY, types: [type], slots: 2 });
process.once("SIGTERM", () => worker.drain());

async function shout(job) {
  const incoming = await job.openPayload();
  async function* capitals() {
    const [decoder, encoder] = [new TextDecoder(), new TextEncoder()];
    for await (const piece of incoming) yield encoder.encode(decoder.decode(piece, { stream: true }).toUpperCase());
  }
  await job.sendResult(capitals());
}

await worker.run(shout, jobs === undefined ? {} : { jobsMax: Number(jobs) });
