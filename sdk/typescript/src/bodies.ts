/** Where bytes come from: memory, a blob, or a stream, always in pieces. */

import { TooLarge } from "./errors.js";

/** What is held in memory at most unless the caller says otherwise: 64 MiB. */
export const HELD_MAX = 64 * 1024 * 1024;

const PIECE = 64 * 1024;

export type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * Bytes to send. A function is asked again when they are needed again, as after a worker's death; a
 * stream given as it is can be read once only. For a file in Node: `await openAsBlob(path)`.
 */
export type Source = string | Uint8Array | Blob | Pieces | (() => Pieces);

/** A source that knows its length, if any, and whether it can be read again. */
export class Body {
  readonly #source: Uint8Array | Blob | Pieces | (() => Pieces);
  #spent = false;

  constructor(source: Source) {
    this.#source = typeof source === "string" ? new TextEncoder().encode(source) : source;
  }

  /** Whether the bytes can be read from the start again. */
  get isRepeatable(): boolean {
    const source = this.#source;
    return source instanceof Uint8Array || source instanceof Blob || typeof source === "function";
  }

  /** The bytes where they are known as a whole, which a request can send with its length. */
  whole(): Uint8Array | Blob | null {
    const source = this.#source;
    return source instanceof Uint8Array || source instanceof Blob ? source : null;
  }

  /** The bytes from the start. Throws `TypeError` for a stream that was read before. */
  pieces(): AsyncIterable<Uint8Array> {
    const source = this.#source;
    if (source instanceof Uint8Array) return cut(source);
    if (source instanceof Blob) return read(source.stream());
    if (typeof source === "function") return inOrder(source());
    if (this.#spent) {
      throw new TypeError("a stream can't be sent twice: give a function that makes one, bytes, or a Blob");
    }
    this.#spent = true;
    return inOrder(source);
  }
}

async function* cut(data: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += PIECE) yield data.subarray(at, at + PIECE);
}

/** The pieces of a stream; not every browser lets one loop over it. Leaving the loop cancels it. */
export async function* read(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        ended = true;
        return;
      }
      yield value;
    }
  } catch (error) {
    ended = true;
    throw error;
  } finally {
    if (!ended) await reader.cancel().catch(() => undefined);
  }
}

async function* inOrder(pieces: Pieces): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

/** All bytes of `pieces`. Throws `TooLarge` past `maxBytes`. */
export async function hold(pieces: AsyncIterable<Uint8Array>, maxBytes = HELD_MAX): Promise<Uint8Array<ArrayBuffer>> {
  const held: Uint8Array[] = [];
  let size = 0;
  for await (const piece of pieces) {
    size += piece.length;
    if (size > maxBytes) throw new TooLarge(`more than ${maxBytes} bytes: take them as a stream`);
    held.push(piece);
  }
  return join(held, size);
}

export function join(parts: readonly Uint8Array[], size?: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size ?? parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
