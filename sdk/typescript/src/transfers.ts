/**
 * Transfers: bytes from one writer to one reader, through the server and never stored there. A
 * channel lives for a minute until both sides are there, and is used once.
 */

import { Body, HELD_MAX, hold, type Source } from "./bodies.js";
import { ApiError, ConnectionLost, TransferError } from "./errors.js";
import type { Http } from "./http.js";
import { asObject, type Channel, readChannel } from "./models.js";

/** Once joined, this long without a byte. The server's own limit is five minutes by default. */
const IDLE_MAX_MS = 330_000;
const OCTETS = "application/octet-stream";

/** Bytes on their way in. The loop over them ends when all have come, or throws `TransferError`. */
export class Incoming implements AsyncIterable<Uint8Array> {
  readonly #pieces: AsyncIterable<Uint8Array>;
  /** Bytes, where the server knows. */
  readonly length: number | null;
  /** What the writer called its bytes. It is a stranger's word: don't render by it. */
  readonly contentType: string | null;

  constructor(pieces: AsyncIterable<Uint8Array>, length: number | null, contentType: string | null) {
    [this.#pieces, this.length, this.contentType] = [pieces, length, contentType];
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this.#pieces[Symbol.asyncIterator]();
  }

  /** All bytes. Throws `TooLarge` past `maxBytes`. */
  async bytes(maxBytes = HELD_MAX): Promise<Uint8Array<ArrayBuffer>> {
    return hold(this.#pieces, maxBytes);
  }
}

/** Transfers with one server; part of a client. */
export class Transfers {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** A new channel; pass its `id` to the other side. */
  async create(signal?: AbortSignal): Promise<Channel> {
    return readChannel(asObject(await this.#http.json("POST", "/api/transfer", undefined, { signal })));
  }

  /** Writes all of `source`, and resolves when the bytes were passed on to the reader. */
  async send(channel: Channel | string, source: Source, options: { contentType?: string; signal?: AbortSignal } = {}): Promise<void> {
    const body = new Body(source);
    const content = body.whole() ?? body.pieces();
    await send(this.#http, place(channel), content, options.contentType ?? null, options.signal);
  }

  /** Joins as reader. Read it to its end, or leave the loop to end the transfer. */
  receive(channel: Channel | string, signal?: AbortSignal): Promise<Incoming> {
    return receive(this.#http, place(channel), signal);
  }
}

function place(channel: Channel | string): string {
  return typeof channel === "string" ? channel : channel.url;
}

/** Writes into a channel. Bytes known as a whole are sent with their length. */
export async function send(http: Http, where: string, content: Uint8Array | Blob | AsyncIterable<Uint8Array>, contentType: string | null, signal?: AbortSignal, method = "POST"): Promise<void> {
  const source = { failure: null as { error: unknown } | null };
  const headers = { "content-type": contentType ?? OCTETS };
  try {
    const body = await toBody(content, source);
    const answer = await http.open(method, where, body, { headers, signal, silenceMs: IDLE_MAX_MS });
    await hold(answer.pieces);
  } catch (error) {
    // The caller's own source is to blame, not the way.
    if (source.failure !== null) throw source.failure.error;
    signal?.throwIfAborted();
    if (error instanceof ApiError && error.code === "transfer_failed") {
      throw new TransferError("the reader left before it had everything", { cause: error });
    }
    throw error instanceof ConnectionLost ? new TransferError(`the bytes could not be sent: ${error.message}`, { cause: error }) : error;
  }
}

async function toBody(content: Uint8Array | Blob | AsyncIterable<Uint8Array>, source: { failure: { error: unknown } | null }): Promise<BodyInit> {
  if (content instanceof Uint8Array) return content as Uint8Array<ArrayBuffer>;
  if (content instanceof Blob) return content;
  // Browsers send streams over HTTP/2 only, so they get a blob, which they may keep on disk.
  if (isBrowser()) return new Blob([(await hold(content)) as BlobPart]);
  const pieces = content[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller): Promise<void> {
      try {
        const { done, value } = await pieces.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        source.failure = { error };
        throw error;
      }
    },
    async cancel(): Promise<void> {
      await pieces.return?.();
    },
  });
}

function isBrowser(): boolean {
  return "document" in globalThis || "importScripts" in globalThis;
}

/** Reads from a channel. */
export async function receive(http: Http, where: string, signal?: AbortSignal): Promise<Incoming> {
  const answer = await http.open("GET", where, undefined, { signal, silenceMs: IDLE_MAX_MS });
  const length = answer.headers.get("content-length");
  return new Incoming(
    whole(answer.pieces, signal),
    length !== null && /^\d+$/.test(length) ? Number(length) : null,
    answer.headers.get("x-transfer-content-type"),
  );
}

async function* whole(pieces: AsyncIterable<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces;
  } catch (error) {
    signal?.throwIfAborted();
    throw new TransferError(`the writer left before it sent everything: ${String(error)}`, { cause: error });
  }
}
