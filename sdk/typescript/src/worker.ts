/** The worker's side: claim jobs, hand each to a function, say how it ended. */

import type { Source } from "./bodies.js";
import { ApiError, ConnectionLost, HandlerError, NfrxError, SealError } from "./errors.js";
import { type Fetch, Http } from "./http.js";
import { Lease } from "./lease.js";
import { type Claim, isObject, readClaim } from "./models.js";
import { choose, type Seal } from "./seals.js";
import { Backoff, sleep, Tasks } from "./waiting.js";
import { WorkerJob } from "./workerjob.js";

/** How long the server may think about a claim past the wait that it was asked for. */
const CLAIM_SLACK_MS = 30_000;
const MESSAGE_MAX = 2000;

/** Gives the result's bytes, or nothing if it sent its results itself or has none. */
export type Handler = (job: WorkerJob) => Promise<Source | void> | Source | void;

export interface WorkerOptions {
  /** The client key, sent to the server's own address only. */
  readonly clientKey?: string;
  /** Kinds of jobs to take, none for all. */
  readonly types?: readonly string[];
  /** Jobs done at once, 1 unless said otherwise. */
  readonly slots?: number;
  readonly workerId?: string;
  readonly workerGroup?: string;
  /** What this machine has, such as `gpu=a100` or `vram=24`. */
  readonly labels?: readonly string[];
  readonly leaseSeconds?: number;
  readonly waitSeconds?: number;
  /** How jobs of sealing clients are opened. */
  readonly seals?: readonly Seal[];
  /** Takes no job that is not sealed. */
  readonly sealedOnly?: boolean;
  /** Told what is waited out or could not be told to the server; by default a warning on the console. */
  readonly onTrouble?: (message: string) => void;
  readonly fetch?: Fetch;
}

/** A worker of one server. */
export class Worker {
  readonly #http: Http;
  readonly #options: WorkerOptions;
  readonly #slots: number;
  readonly #waitSeconds: number;
  readonly #trouble: (message: string) => void;
  readonly #draining = new AbortController();
  #paused: { readonly resumed: Promise<void>; readonly resume: () => void } | null = null;
  #claiming = new AbortController();
  #left = Infinity;

  constructor(baseUrl: string, options: WorkerOptions = {}) {
    this.#slots = options.slots ?? 1;
    if (!Number.isInteger(this.#slots) || this.#slots < 1) throw new RangeError("slots must be at least 1");
    if (options.sealedOnly === true && (options.seals ?? []).length === 0) {
      throw new TypeError("sealedOnly needs at least one seal");
    }
    this.#http = new Http(baseUrl, options.clientKey, options.fetch);
    this.#options = options;
    this.#waitSeconds = options.waitSeconds ?? 30;
    this.#trouble = options.onTrouble ?? ((message) => console.warn(`nfrx: ${message}`));
  }

  /** Claims nothing more; `run` resolves when what runs has ended. */
  drain(): void {
    this.#draining.abort();
    this.#claiming.abort();
    this.resume();
  }

  /** Claims nothing until `resume`; what runs goes on. */
  pause(): void {
    if (this.#paused !== null || this.#draining.signal.aborted) return;
    let resume = (): void => undefined;
    const resumed = new Promise<void>((resolve) => (resume = resolve));
    this.#paused = { resumed, resume };
    this.#claiming.abort();
  }

  /** Claims again. */
  resume(): void {
    this.#paused?.resume();
    this.#paused = null;
    if (!this.#draining.signal.aborted) this.#claiming = new AbortController();
  }

  /**
   * Does jobs until `drain`, or until `jobsMax` are done. When `signal` is aborted, it waits for the
   * handlers, whose `job.signal` is aborted with it, gives their jobs back, and rejects with the
   * signal's reason. Rejects also if the server refuses this worker for good, as with a wrong key.
   */
  async run(handler: Handler, options: { signal?: AbortSignal; jobsMax?: number } = {}): Promise<void> {
    this.#left = options.jobsMax ?? Infinity;
    const tasks = new Tasks(options.signal);
    for (let slot = 0; slot < this.#slots; slot += 1) tasks.start((signal) => this.#slot(handler, signal));
    await tasks.settle();
  }

  async #slot(handler: Handler, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff();
    for (;;) {
      await unless(signal, this.#paused?.resumed);
      signal.throwIfAborted();
      if (this.#left < 1 || this.#draining.signal.aborted) return;
      this.#left -= 1; // Before asking, so that slots together do not claim too many.
      const claim = await this.#next(backoff, signal);
      if (claim === null) this.#left += 1;
      else await this.#do(handler, claim, signal);
    }
  }

  /** A job, or none this time. */
  async #next(backoff: Backoff, outer: AbortSignal): Promise<Claim | null> {
    const left = this.#claiming.signal;
    const signal = AbortSignal.any([outer, left]);
    try {
      const claim = await this.#ask(signal);
      backoff.reset();
      return claim;
    } catch (error) {
      outer.throwIfAborted();
      if (left.aborted) return null;
      const passing = error instanceof ConnectionLost || (error instanceof ApiError && ![400, 401, 403].includes(error.status));
      if (!passing) throw error;
      const pause = backoff.delay();
      this.#trouble(`no claim, trying again in ${Math.round(pause)} ms: ${error.message}`);
      await sleep(pause, outer);
      return null;
    }
  }

  async #ask(signal: AbortSignal): Promise<Claim | null> {
    const { types, workerId, workerGroup, labels, leaseSeconds = 60 } = this.#options;
    const body = {
      types,
      labels,
      worker_id: workerId,
      worker_group: workerGroup,
      max_wait_seconds: this.#waitSeconds,
      lease_seconds: leaseSeconds,
    };
    const silenceMs = this.#waitSeconds * 1000 + CLAIM_SLACK_MS;
    const answer = await this.#http.json("POST", "/api/jobs/claim", body, { signal, silenceMs, again: false });
    const claim = isObject(answer) ? readClaim(answer) : null;
    return claim !== null && claim.jobId !== "" ? claim : null;
  }

  /** One job from claim to its last status. Nothing of the job's trouble is thrown. */
  async #do(handler: Handler, claim: Claim, stop: AbortSignal): Promise<void> {
    const lease = new Lease(this.#http, claim);
    const over = new AbortController();
    const keeping = lease.keep(AbortSignal.any([over.signal, stop])).catch(() => undefined);
    const signal = AbortSignal.any([lease.signal, stop]);
    let job = new WorkerJob(this.#http, claim, lease, null, signal);
    try {
      job = new WorkerJob(this.#http, claim, lease, this.#sealFor(claim), signal);
      job.check();
      // A canceled handler is waited for all the same: until it ends, the machine is not free.
      const result = await handler(job);
      job.check();
      if (result !== undefined) await job.sendResult(result);
      await job.end();
    } catch (error) {
      if (stop.aborted) await this.#say(job.release(), job);
      else if (!lease.signal.aborted) await this.#say(job.end(problem(error)), job);
    } finally {
      over.abort();
      await keeping;
    }
  }

  #sealFor(claim: Claim): Seal | null {
    const seal = choose(this.#options.seals ?? [], claim.metadata);
    if (seal === null && this.#options.sealedOnly === true) {
      throw new SealError("the job is not sealed, and this worker takes sealed jobs only");
    }
    return seal;
  }

  async #say(call: Promise<void>, job: WorkerJob): Promise<void> {
    try {
      await call;
    } catch (error) {
      this.#trouble(`job ${job.id}: its end could not be told: ${String(error)}`);
    }
  }
}

/** What the job's client hears about an error. */
function problem(error: unknown): { code: string; message: string } {
  const cut = (code: string, message: string) => ({ code, message: message.slice(0, MESSAGE_MAX) });
  if (error instanceof HandlerError) return cut(error.code, error.reason);
  if (error instanceof SealError) return cut("secure_transfer_error", error.message);
  if (error instanceof NfrxError) return cut("http_error", error.message);
  return cut("handler_error", String(error));
}

/** Waits for `promise`, or rejects as soon as `signal` is aborted. */
async function unless<T>(signal: AbortSignal, promise: Promise<T> | T): Promise<T> {
  let end = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    end = () => reject(signal.reason as Error);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", end);
    // One that nobody waits for any more must not end the process when it fails.
    aborted.catch(() => undefined);
    Promise.resolve(promise).catch(() => undefined);
  }
}
