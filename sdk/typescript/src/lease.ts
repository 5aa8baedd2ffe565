/** Keeping a claim while its job is being done. */

import { ApiError, ConnectionLost, JobCanceled, LeaseLost, type NfrxError } from "./errors.js";
import { type Http, jobPath } from "./http.js";
import { asObject, type Claim } from "./models.js";
import { Backoff, sleep } from "./waiting.js";

/** Renewed this many times per lease, so that two calls may fail in a row. */
const RENEWALS_PER_LEASE = 3;
/** Seconds of a lease that the server did not state. */
const LEASE_DEFAULT = 3600;

/** A worker's timed claim on one job. Its `signal` is aborted, with the reason, when it ends early. */
export class Lease {
  readonly #http: Http;
  readonly #claim: Claim;
  readonly #lost = new AbortController();
  readonly #ms: number;

  constructor(http: Http, claim: Claim) {
    this.#http = http;
    this.#claim = claim;
    this.#ms = (claim.leaseSeconds ?? LEASE_DEFAULT) * 1000;
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** Throws what has become of the claim, if it is ours no longer. */
  check(): void {
    this.signal.throwIfAborted();
  }

  /** The claim is ours no longer. The first reason counts. */
  lose(reason: NfrxError): void {
    this.#lost.abort(reason);
  }

  /** Renews until `work` ends or the claim does. */
  async keep(work: AbortSignal): Promise<void> {
    if (this.#claim.token === null) return; // A server without leases: its jobs are ours until we end them.
    const longest = this.#ms / RENEWALS_PER_LEASE;
    const backoff = new Backoff(Math.min(1000, longest), longest);
    let deadline = performance.now() + this.#ms;
    let pause = this.#ms / RENEWALS_PER_LEASE;
    for (;;) {
      await sleep(Math.max(0, Math.min(pause, deadline - performance.now())), work);
      const asked = performance.now();
      if (asked >= deadline) return this.lose(new LeaseLost("the lease ran out while the server could not be reached"));
      try {
        if (!(await this.#renew(work, deadline - asked))) return;
        backoff.reset();
        [deadline, pause] = [asked + this.#ms, this.#ms / RENEWALS_PER_LEASE];
      } catch (error) {
        work.throwIfAborted();
        if (!(error instanceof ApiError || error instanceof ConnectionLost)) throw error;
        pause = backoff.delay();
      }
    }
  }

  /** False when the claim is gone. */
  async #renew(signal: AbortSignal, leftMs: number): Promise<boolean> {
    const body = { claim_token: this.#claim.token, lease_seconds: Math.max(1, Math.round(this.#ms / 1000)) };
    try {
      const options = { signal, again: false, silenceMs: Math.max(1000, leftMs) };
      const answer = asObject(await this.#http.json("POST", jobPath(this.#claim.jobId, "lease"), body, options));
      if (answer.canceled === true || answer.status === "canceled") this.lose(new JobCanceled("the job was canceled"));
    } catch (error) {
      if (!isGone(error)) throw error;
      this.lose(gone(error));
    }
    return !this.signal.aborted;
  }
}

/** Whether a refusal says that a claim is ours no longer. */
export function isGone(error: unknown): error is ApiError {
  return error instanceof ApiError && (error.status === 404 || error.status === 409);
}

/** What such a refusal says about the claim. */
export function gone(error: ApiError): LeaseLost {
  const known = "the job was canceled, or was given to another worker";
  return new LeaseLost(error.status === 404 ? "the server knows the job no longer" : known, { cause: error });
}
