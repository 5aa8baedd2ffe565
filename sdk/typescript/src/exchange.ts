/** A client's half of a running job: sends payloads when asked, fetches results when told. */

import { type Body, hold } from "./bodies.js";
import { ApiError, ConnectionLost, TooLarge, TransferError } from "./errors.js";
import type { Http } from "./http.js";
import { type Channel, type Event, isTerminal, type Job } from "./models.js";
import type { Seal } from "./seals.js";
import { receive, send } from "./transfers.js";
import type { Tasks } from "./waiting.js";

/** One result in memory; null bytes when the caller's `onResult` took them. */
export interface Received {
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  readonly contentType: string | null;
}

/** Takes a result as it comes. What it got is whole only when the job is completed. */
export type OnResult = (key: string, pieces: AsyncIterable<Uint8Array>, contentType: string | null) => Promise<void>;

export interface ExchangeOptions {
  readonly contentType: string | null;
  readonly maxResultBytes: number;
  readonly onResult?: OnResult | undefined;
  readonly seal?: Seal | undefined;
}

/** The transfers of one job. An attempt that breaks is forgotten when the worker asks again. */
export class Exchange {
  readonly received = new Map<string, Received>();
  readonly #http: Http;
  readonly #jobId: string;
  readonly #payloads: ReadonlyMap<string, Body>;
  readonly #options: ExchangeOptions;
  readonly #failures = new Map<string, unknown>();
  readonly #over = new AbortController();

  constructor(http: Http, jobId: string, payloads: ReadonlyMap<string, Body>, options: ExchangeOptions) {
    [this.#http, this.#jobId, this.#payloads, this.#options] = [http, jobId, payloads, options];
  }

  /** Starts what an event asks for. Events go on being read meanwhile. */
  take(event: Event, tasks: Tasks): void {
    if (event.kind === "status") {
      // A worker may end a job without having read its payload; nobody waits for it then.
      if (isTerminal(event.job)) this.#over.abort();
    } else if (event.kind === "payload") {
      tasks.start((signal) => this.#send(event.channel, signal));
    } else {
      tasks.start((signal) => this.#fetch(event.channel, signal));
    }
  }

  /** Throws when a result that the job announced has not arrived whole. */
  check(job: Job): void {
    for (const key of job.results.keys()) {
      if (this.received.has(key)) continue;
      const reason = this.#failures.get(key) ?? "its channel was never open for us";
      throw new TransferError(`result "${key}" of job ${job.id} did not arrive: ${String(reason)}`);
    }
  }

  async #send(channel: Channel, outer: AbortSignal): Promise<void> {
    const body = this.#payloads.get(channel.key);
    if (body === undefined) {
      const given = [...this.#payloads.keys()].join(", ") || "none";
      throw new TypeError(`the worker asks for payload "${channel.key}"; given are: ${given}`);
    }
    const { seal, contentType } = this.#options;
    const sealed = seal?.sealPayload(channel, this.#jobId, contentType, body.pieces());
    const content = sealed ?? body.whole() ?? body.pieces();
    const signal = AbortSignal.any([outer, this.#over.signal]);
    try {
      await send(this.#http, channel.url, content, seal?.mediaType ?? contentType, signal);
    } catch (error) {
      // The worker has left or will ask again; the job's status tells which.
      if (!this.#over.signal.aborted && !isPassing(error)) throw error;
    }
  }

  async #fetch(channel: Channel, signal: AbortSignal): Promise<void> {
    this.received.delete(channel.key);
    const { seal, onResult, maxResultBytes } = this.#options;
    try {
      const incoming = await receive(this.#http, channel.url, signal);
      const opened = await seal?.openResult(channel, this.#jobId, incoming);
      const [pieces, contentType] = opened ? [opened.pieces, opened.contentType] : [incoming, incoming.contentType];
      let bytes: Received["bytes"] = null;
      if (onResult === undefined) bytes = await hold(pieces, maxResultBytes);
      else await onResult(channel.key, pieces, contentType);
      this.received.set(channel.key, { bytes, contentType });
    } catch (error) {
      if (error instanceof TooLarge || !isPassing(error)) throw error;
      this.#failures.set(channel.key, error);
    }
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof ApiError || error instanceof ConnectionLost || error instanceof TransferError;
}
