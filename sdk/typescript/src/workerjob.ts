/** A claimed job, as its handler sees it. */

import { Body, HELD_MAX, type Source } from "./bodies.js";
import { ApiError, ConnectionLost, TooLarge, TransferError } from "./errors.js";
import { type Http, jobPath } from "./http.js";
import { gone, isGone, type Lease } from "./lease.js";
import { asObject, type Channel, type Claim, type Json, readChannel } from "./models.js";
import type { Seal } from "./seals.js";
import { Incoming, receive, send } from "./transfers.js";

/** A channel is made anew when its client could not be met on the last one. */
const CHANNEL_ATTEMPTS = 3;

/**
 * One job in a handler's hands. Once the job is ours no longer, `signal` is aborted and every call
 * rejects with the reason, `JobCanceled` or `LeaseLost`.
 */
export class WorkerJob {
  readonly id: string;
  readonly type: string;
  readonly metadata: Json;
  /** 1 for the first worker that tries. */
  readonly attempt: number;
  readonly signal: AbortSignal;
  readonly #http: Http;
  readonly #claim: Claim;
  readonly #lease: Lease;
  readonly #seal: Seal | null;

  constructor(http: Http, claim: Claim, lease: Lease, seal: Seal | null, signal: AbortSignal) {
    [this.#http, this.#claim, this.#lease, this.#seal] = [http, claim, lease, seal];
    [this.id, this.type, this.metadata, this.attempt] = [claim.jobId, claim.type, claim.metadata, claim.attempt];
    this.signal = signal;
  }

  /** Whether the bytes are hidden from the server. */
  get isSealed(): boolean {
    return this.#seal !== null;
  }

  /** Throws if the job was canceled or the claim is lost. For loops that make no call. */
  check(): void {
    this.signal.throwIfAborted();
  }

  /** Says how far the job is; replaces what was said before. `percent` is understood widely. */
  async progress(members: Json): Promise<void> {
    await this.#call("status", { state: "running", progress: members });
  }

  /** The whole payload. One that broke on its way is asked for again. */
  async payload(key = "payload", maxBytes = HELD_MAX): Promise<Uint8Array<ArrayBuffer>> {
    for (let left = CHANNEL_ATTEMPTS - 1; ; left -= 1) {
      try {
        return await (await this.openPayload(key)).bytes(maxBytes);
      } catch (error) {
        this.check();
        const broken = error instanceof TransferError || error instanceof ConnectionLost;
        if (!broken || error instanceof TooLarge || left === 0) throw error;
      }
    }
  }

  /** The payload as it comes, for what does not fit into memory. */
  async openPayload(key = "payload"): Promise<Incoming> {
    const properties = this.#seal?.payloadProperties(this.metadata);
    let incoming = await this.#joined(key, properties);
    if (this.#seal !== null) {
      const opened = await this.#seal.openPayload(this.metadata, this.id, key, incoming);
      incoming = new Incoming(opened.pieces, null, opened.contentType);
    }
    await this.#call("status", { state: "running" });
    return incoming;
  }

  async #joined(key: string, properties: Json | undefined): Promise<Incoming> {
    for (let left = CHANNEL_ATTEMPTS - 1; ; left -= 1) {
      const channel = await this.#channel("payload", key, properties);
      try {
        return await receive(this.#http, channel.url, this.signal);
      } catch (error) {
        this.check();
        // Nobody came, or came and left: the client may be connecting again just now.
        if (left > 0 && isUnmet(error)) continue;
        throw new TransferError(`the client does not send "${key}": ${String(error)}`, { cause: error });
      }
    }
  }

  /** Sends a result, in pieces as `source` gives them. Several results need a key each. */
  async sendResult(source: Source, options: { key?: string; contentType?: string } = {}): Promise<void> {
    const { key = "result", contentType = null } = options;
    const [seal, body] = [this.#seal, new Body(source)];
    const properties = seal?.resultProperties(this.metadata);
    for (let left = CHANNEL_ATTEMPTS - 1; ; left -= 1) {
      const channel = await this.#channel("result", key, properties);
      const sealed = seal?.sealResult(this.metadata, this.id, key, contentType, body.pieces());
      try {
        const content = sealed ?? body.whole() ?? body.pieces();
        return await send(this.#http, channel.url, content, seal?.mediaType ?? contentType, this.signal);
      } catch (error) {
        this.check();
        const broken = isUnmet(error) || error instanceof TransferError || error instanceof ConnectionLost;
        if (left > 0 && broken && body.isRepeatable) continue;
        if (!broken && !(error instanceof ApiError)) throw error;
        throw new TransferError(`the client does not take "${key}": ${String(error)}`, { cause: error });
      }
    }
  }

  /** Writes the last status; for the worker's loop, not for handlers. */
  async end(problem?: { readonly code: string; readonly message: string }): Promise<void> {
    await this.#call("status", problem === undefined ? { state: "completed" } : { state: "failed", error: problem });
  }

  /** Gives the job back, for somebody else to do; for the worker's loop. */
  async release(): Promise<void> {
    await this.#call("status", { state: "queued" }, AbortSignal.timeout(5_000));
  }

  async #channel(kind: "payload" | "result", key: string, properties: Json | undefined): Promise<Channel> {
    const body = properties === undefined ? { key } : { key, properties };
    return readChannel(asObject(await this.#call(kind, body)), key);
  }

  /** A call about the job. Its refusal as gone is the end of the claim. */
  async #call(what: string, body: Json, signal: AbortSignal = this.signal): Promise<unknown> {
    this.#lease.check();
    const token = this.#claim.token === null ? {} : { claim_token: this.#claim.token };
    try {
      return await this.#http.json("POST", jobPath(this.id, what), { ...body, ...token }, { signal });
    } catch (error) {
      if (isGone(error)) this.#lease.lose(gone(error));
      this.#lease.check();
      throw error;
    }
  }
}

function isUnmet(error: unknown): boolean {
  return error instanceof ApiError && [404, 410, 502].includes(error.status);
}
