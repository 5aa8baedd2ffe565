/** Calls to the server: key, addresses, errors, and what is tried again. */

import { hold, read } from "./bodies.js";
import { ApiError, ConnectionLost, TooLarge } from "./errors.js";
import { asObject } from "./models.js";
import { Backoff, sleep, Watchdog } from "./waiting.js";

/** Silence that means that the server has gone. A waiting channel or claim gets longer. */
export const SILENCE_MAX_MS = 45_000;
const ATTEMPTS = 4;
const ERROR_BYTES_MAX = 4096;
const JSON_BYTES_MAX = 32 * 1024 * 1024;
// Refused before any work began, or by a proxy in front: worth another try.
const PASSING: ReadonlySet<number> = new Set([429, 502, 503, 504]);

export type Fetch = typeof globalThis.fetch;

export interface CallOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  readonly silenceMs?: number;
}

/** An answer whose body is still on its way. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly pieces: AsyncIterable<Uint8Array>;
  /** Ends the call when the body is not wanted to its end. */
  close(): void;
}

/** One server and one key. */
export class Http {
  readonly #base: URL;
  readonly #key: string | undefined;
  readonly #fetch: Fetch;

  constructor(baseUrl: string, key?: string, fetch: Fetch = globalThis.fetch.bind(globalThis)) {
    this.#base = new URL(baseUrl);
    if (!/^https?:$/.test(this.#base.protocol)) {
      throw new TypeError(`the server's address must begin with http or https, not ${baseUrl}`);
    }
    this.#key = key;
    this.#fetch = fetch;
  }

  /** The address of a path of the server, of a full address that it gave, or of a channel's id. */
  address(place: string): URL {
    if (/^https?:\/\//.test(place)) return new URL(place);
    const path = place.startsWith("/") ? place : `/api/transfer/${encodeURIComponent(place)}`;
    return new URL(this.#base.origin + this.#base.pathname.replace(/\/+$/, "") + path);
  }

  /**
   * The JSON of the answer, null for 204. `again` says that the call may reach the server twice
   * without harm.
   */
  async json(method: string, path: string, body?: unknown, options: CallOptions & { again?: boolean } = {}): Promise<unknown> {
    const backoff = new Backoff();
    const headers = { ...options.headers, ...(body === undefined ? {} : { "content-type": "application/json" }) };
    const content = body === undefined ? undefined : JSON.stringify(body);
    for (let left = ATTEMPTS - 1; ; left -= 1) {
      try {
        return await this.#once(method, path, content, { ...options, headers });
      } catch (error) {
        options.signal?.throwIfAborted();
        const passing = error instanceof ConnectionLost || (error instanceof ApiError && PASSING.has(error.status));
        if (!passing || options.again === false || left === 0) throw error;
      }
      await sleep(backoff.delay(), options.signal);
    }
  }

  async #once(method: string, path: string, content: string | undefined, options: CallOptions): Promise<unknown> {
    const answer = await this.open(method, path, content, options);
    const data = await hold(answer.pieces, JSON_BYTES_MAX);
    if (answer.status === 204 || data.length === 0) return null;
    try {
      return JSON.parse(new TextDecoder().decode(data)) as unknown;
    } catch (error) {
      throw new ConnectionLost(`${method} ${path}: the answer is no JSON`, { cause: error });
    }
  }

  /** One attempt. Throws `ApiError` for any status from 300 on, `ConnectionLost` without an answer. */
  async open(method: string, place: string, body?: BodyInit, options: CallOptions = {}): Promise<Answer> {
    const watchdog = new Watchdog(options.silenceMs ?? SILENCE_MAX_MS, options.signal);
    try {
      const response = await this.#send(method, this.address(place), body, options.headers ?? {}, watchdog);
      if (response.status >= 300 || response.type === "opaqueredirect") throw await refusal(response);
      const closed = new AbortController();
      return {
        status: response.status,
        headers: response.headers,
        pieces: heard(response, watchdog, `${method} ${place}`, closed.signal),
        close: () => {
          closed.abort();
          watchdog.done();
          void response.body?.cancel().catch(() => undefined);
        },
      };
    } catch (error) {
      watchdog.done();
      options.signal?.throwIfAborted();
      throw error instanceof ApiError ? error : lost(`${method} ${place}`, error);
    }
  }

  #send(method: string, address: URL, body: BodyInit | undefined, headers: Readonly<Record<string, string>>, watchdog: Watchdog): Promise<Response> {
    const sent = new Headers(headers);
    // The key goes to the server it is for, not wherever an answer points.
    if (this.#key !== undefined && address.origin === this.#base.origin) {
      sent.set("authorization", `Bearer ${this.#key}`);
    }
    const init: RequestInit & { duplex?: "half" } = {
      method,
      headers: sent,
      signal: watchdog.signal,
      // A POST would come out of a redirect as something else.
      redirect: "manual",
      cache: "no-store",
      credentials: "omit",
    };
    if (body !== undefined) init.body = body;
    if (body instanceof ReadableStream) init.duplex = "half";
    return this.#fetch(address, init);
  }
}

async function* heard(response: Response, watchdog: Watchdog, what: string, closed: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    if (response.body === null) return;
    for await (const piece of read(response.body)) {
      watchdog.sign();
      yield piece;
    }
  } catch (error) {
    if (closed.aborted) return;
    throw lost(what, error);
  } finally {
    watchdog.done();
  }
}

function lost(what: string, error: unknown): ConnectionLost {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return new ConnectionLost(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause: error });
}

/** The error in an answer, whose body is believed up to a few kilobytes. */
async function refusal(response: Response): Promise<ApiError> {
  let text = "";
  try {
    if (response.body !== null) {
      text = new TextDecoder().decode(await hold(read(response.body), ERROR_BYTES_MAX));
    }
  } catch (error) {
    if (!(error instanceof TooLarge)) throw error;
  }
  let code = text.slice(0, 200).trim();
  try {
    const named = asObject(JSON.parse(text)).error;
    if (typeof named === "string") code = named;
  } catch {
    // Not every refusal is JSON: an unknown path is answered with plain text.
  }
  return new ApiError(response.status, code || response.statusText, response.headers.get("x-request-id"));
}

/** A path from its parts, whatever they hold. */
export function jobPath(jobId: string, ...rest: string[]): string {
  return ["/api/jobs", jobId, ...rest].map((part, at) => (at === 0 ? part : encodeURIComponent(part))).join("/");
}
