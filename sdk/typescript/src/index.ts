/** Jobs, workers and transfers of an nfrx relay, for Node and browsers. */

export type { Pieces, Source } from "./bodies.js";
export { Client, type ClientOptions, Outcome, type RunOptions, type Terms, type Wanted } from "./client.js";
export * from "./errors.js";
export type { OnResult, Received } from "./exchange.js";
export { type Channel, type Event, isTerminal, type Job, type Json } from "./models.js";
export type { Opened, Seal } from "./seals.js";
export { Incoming, Transfers } from "./transfers.js";
export { type Handler, Worker, type WorkerOptions } from "./worker.js";
export { WorkerJob } from "./workerjob.js";
