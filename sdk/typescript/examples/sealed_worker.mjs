/** Turns sealed text into capitals: node sealed_worker.mjs URL TYPE; prints the key that clients pin. */

import { Worker } from "nfrx";
import { Identity, X25519Seal } from "nfrx/sealed";

const [url, type] = process.argv.slice(2);
const seal = new X25519Seal(await Identity.generate());
console.log("my key:", seal.identity.publicKey);
const clientKey = process.env.NFRX_CLIENT_KEY;
const worker = new Worker(url, { clientKey, types: [type], seals: [seal], sealedOnly: true });
await worker.run(async (job) => new TextDecoder().decode(await job.payload()).toUpperCase());
