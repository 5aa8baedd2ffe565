/** What can go wrong, one class per thing a caller reacts to differently. */

import type { Job } from "./models.js";

/** The root of every error this package throws on its own account. */
export class NfrxError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The server refused a call: an HTTP status, and the server's word for it, such as `not_found`. */
export class ApiError extends NfrxError {
  readonly status: number;
  readonly code: string;
  /** Finds the call in the server's log. */
  readonly requestId: string | null;

  constructor(status: number, code: string, requestId: string | null = null) {
    const named = requestId === null ? "" : ` (request ${requestId})`;
    super(`the server answered ${status} ${code}${named}`);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
  }
}

/** The server could not be reached, also after trying again. */
export class ConnectionLost extends NfrxError {}

/** Bytes did not arrive whole. What has come so far must not be used. */
export class TransferError extends NfrxError {}

/** A body is larger than the caller's limit for bytes held in memory. */
export class TooLarge extends TransferError {}

/** A worker gave the job up; `job.error` says why. */
export class JobFailed extends NfrxError {
  readonly job: Job;

  constructor(job: Job) {
    const { code = "", message = "no reason given" } = job.error ?? {};
    super(`job ${job.id} failed: ${code === "" ? "" : `${code}: `}${message}`);
    this.job = job;
  }
}

/** The job was canceled; a worker's handler gets this from every call about its job. */
export class JobCanceled extends NfrxError {}

/** The worker's claim has run out: somebody else may be doing the job by now. */
export class LeaseLost extends NfrxError {}

/** Thrown by a handler to fail its job with a code and a message of its choice. */
export class HandlerError extends NfrxError {
  readonly code: string;
  readonly reason: string;

  constructor(code: string, reason: string) {
    super(`${code}: ${reason}`);
    this.code = code;
    this.reason = reason;
  }
}

/** Sealed bytes were altered, cut, not meant for this key, or come from a key that is not pinned. */
export class SealError extends NfrxError {}
