/** The client's side: create jobs, follow them, exchange their bytes. */

import { Body, HELD_MAX, type Source } from "./bodies.js";
import { JobCanceled, JobFailed, TransferError } from "./errors.js";
import { Exchange, type OnResult, type Received } from "./exchange.js";
import { type Fetch, Http, jobPath } from "./http.js";
import { asObject, type Event, isTerminal, type Job, type Json, readJob } from "./models.js";
import type { Seal } from "./seals.js";
import { type Incoming, receive, send, Transfers } from "./transfers.js";
import { Tasks } from "./waiting.js";
import { watch } from "./watch.js";

/** How long a job that nobody waits for any more may take to be told so. */
const FAREWELL_MS = 5_000;

export interface ClientOptions {
  /** The API key, sent to the server's own address only. */
  readonly apiKey?: string;
  /** Another `fetch`, as for tests. */
  readonly fetch?: Fetch;
}

/** What a job asks of the server besides being done; what is left out is left to the server. */
export interface Terms {
  readonly workerId?: string;
  readonly workerGroup?: string;
  readonly priority?: number;
  /** RFC 3339 times. */
  readonly notBefore?: string;
  readonly expiresAt?: string;
  readonly maxAttempts?: number;
  readonly retryDelaySeconds?: number;
  /** What a worker must announce, such as `gpu=a100` or `vram>=16`. */
  readonly labels?: readonly string[];
  readonly tags?: readonly string[];
  /** Makes creating the job again give the same job. */
  readonly idempotencyKey?: string;
  /** Nobody has to watch the job, and its results stay with the server. */
  readonly keep?: boolean;
  /** No worker gets the job before these payloads are stored. */
  readonly payloadKeys?: readonly string[];
}

/** Which jobs to list; what is left out is not looked at. */
export interface Wanted {
  readonly status?: string;
  readonly type?: string;
  readonly tag?: string;
  /** The worker that has the job. */
  readonly workerId?: string;
}

export interface RunOptions {
  readonly metadata?: Json;
  readonly terms?: Terms;
  readonly contentType?: string;
  /** What is held of a result in memory at most, 64 MiB unless said otherwise. */
  readonly maxResultBytes?: number;
  /** Takes results as they come, instead of memory. */
  readonly onResult?: OnResult;
  readonly onStatus?: (job: Job) => void;
  /** With it only the worker can read the payload, and only this client the results. */
  readonly seal?: Seal;
  /** Aborting it cancels the job. */
  readonly signal?: AbortSignal;
}

/** A completed job with its results by key. */
export class Outcome {
  readonly job: Job;
  readonly results: ReadonlyMap<string, Received>;

  constructor(job: Job, results: ReadonlyMap<string, Received>) {
    [this.job, this.results] = [job, results];
  }

  /** The bytes of the result named `result`, the name a worker uses if it names none. */
  get bytes(): Uint8Array<ArrayBuffer> {
    const bytes = this.results.get("result")?.bytes ?? null;
    if (bytes === null) {
      const keys = [...this.results.keys()].join(", ") || "none";
      throw new TransferError(`job ${this.job.id} has no result "result" in memory; results: ${keys}`);
    }
    return bytes;
  }
}

/** A client of one server. It holds no connection of its own, so there is nothing to close. */
export class Client {
  readonly transfers: Transfers;
  readonly #http: Http;

  constructor(baseUrl: string, options: ClientOptions = {}) {
    this.#http = new Http(baseUrl, options.apiKey, options.fetch);
    this.transfers = new Transfers(this.#http);
  }

  /** Queues a job and gives its id. Somebody has to watch it, or the server cancels it. */
  async create(type: string, metadata: Json = {}, terms: Terms = {}, signal?: AbortSignal): Promise<string> {
    // Without a key of the caller's one of our own: an answer that got lost makes no second job.
    const headers = { "idempotency-key": terms.idempotencyKey ?? randomKey() };
    const body = { type, metadata, ...members(terms) };
    return String(asObject(await this.#http.json("POST", "/api/jobs", body, { headers, signal })).job_id);
  }

  /** The job as it is now. */
  async get(jobId: string, signal?: AbortSignal): Promise<Job> {
    return readJob(asObject(await this.#http.json("GET", jobPath(jobId), undefined, { signal })));
  }

  /** Jobs that the server still knows and that fit, newest first, fetched part by part. */
  async *list(wanted: Wanted = {}, signal?: AbortSignal): AsyncGenerator<Job> {
    const query = new URLSearchParams();
    const wishes = { status: wanted.status, type: wanted.type, tag: wanted.tag, worker_id: wanted.workerId };
    for (const [name, value] of Object.entries(wishes)) if (value !== undefined) query.set(name, value);
    for (;;) {
      const path = query.size > 0 ? `/api/jobs?${query}` : "/api/jobs";
      const page = asObject(await this.#http.json("GET", path, undefined, { signal }));
      for (const view of Array.isArray(page.jobs) ? page.jobs : []) yield readJob(asObject(view));
      if (typeof page.next_cursor !== "string") return;
      query.set("cursor", page.next_cursor);
    }
  }

  /** Cancels a job and gives its status now, which is another one if it had ended before. */
  async cancel(jobId: string, signal?: AbortSignal): Promise<string> {
    return String(asObject(await this.#http.json("POST", jobPath(jobId, "cancel"), undefined, { signal })).status);
  }

  /** Stores a payload with its job; resolves when the bytes are on the server's disk. */
  async store(jobId: string, source: Source, options: { key?: string; contentType?: string; signal?: AbortSignal } = {}): Promise<void> {
    const body = new Body(source);
    const where = jobPath(jobId, "payload", options.key ?? "payload");
    await send(this.#http, where, body.whole() ?? body.pieces(), options.contentType ?? null, options.signal, "PUT");
  }

  /** A result that stayed with the server. Read it to its end, or leave the loop. */
  stored(jobId: string, key = "result", signal?: AbortSignal): Promise<Incoming> {
    return receive(this.#http, jobPath(jobId, "result", key), signal);
  }

  /** Events up to the job's end. Survives broken connections. */
  watch(jobId: string, signal?: AbortSignal): AsyncGenerator<Event> {
    return watch(this.#http, jobId, signal);
  }

  /**
   * Creates a job, sends what its worker asks for, and gives the results. Rejects with `JobFailed` or
   * `JobCanceled`. The job is canceled when this call is, or fails on our side.
   */
  async run(type: string, payload: Source | ReadonlyMap<string, Source> = "", options: RunOptions = {}): Promise<Outcome> {
    const given = payload instanceof Map ? (payload as ReadonlyMap<string, Source>) : new Map([["payload", payload as Source]]);
    const bodies = new Map([...given].map(([key, source]) => [key, new Body(source)]));
    const metadata = { ...options.metadata, ...options.seal?.offer() };
    const jobId = await this.create(type, metadata, options.terms, options.signal);
    const { contentType = null, maxResultBytes = HELD_MAX, onResult, seal } = options;
    const exchange = new Exchange(this.#http, jobId, bodies, { contentType, maxResultBytes, onResult, seal });
    try {
      const job = await this.#follow(jobId, exchange, options);
      if (job.status === "failed") throw new JobFailed(job);
      if (job.status === "canceled") throw new JobCanceled(why(job));
      exchange.check(job);
      return new Outcome(job, exchange.received);
    } catch (error) {
      if (!(error instanceof JobFailed || error instanceof JobCanceled)) await this.#giveUp(jobId);
      throw error;
    }
  }

  async #follow(jobId: string, exchange: Exchange, options: RunOptions): Promise<Job> {
    const tasks = new Tasks(options.signal);
    let last: Job | null = null;
    try {
      for await (const event of watch(this.#http, jobId, tasks.signal)) {
        exchange.take(event, tasks);
        if (event.kind !== "status") continue;
        last = event.job;
        options.onStatus?.(event.job);
      }
      if (last !== null && last.status !== "completed") tasks.stop();
    } catch (error) {
      tasks.fail(error);
    }
    await tasks.settle();
    if (last === null || !isTerminal(last)) throw new TypeError("a watch ends with a terminal status or throws");
    return last;
  }

  /** Our own trouble, or our caller's wish to stop: nobody will take the result any more. */
  async #giveUp(jobId: string): Promise<void> {
    try {
      await this.cancel(jobId, AbortSignal.timeout(FAREWELL_MS));
    } catch {
      // The server cancels a job that nobody watches by itself.
    }
  }
}

function members(terms: Terms): Json {
  const all = {
    worker_id: terms.workerId,
    worker_group: terms.workerGroup,
    priority: terms.priority,
    not_before: terms.notBefore,
    expires_at: terms.expiresAt,
    max_attempts: terms.maxAttempts,
    retry_delay_seconds: terms.retryDelaySeconds,
    labels: terms.labels,
    tags: terms.tags,
    keep: terms.keep,
    payload_keys: terms.payloadKeys,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function why(job: Job): string {
  return `job ${job.id} was canceled${job.error === null ? "" : `: ${job.error.message}`}`;
}

/** `randomUUID` is missing on pages without TLS. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
