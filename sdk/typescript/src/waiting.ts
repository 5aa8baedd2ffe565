/** Waiting: pauses that can be ended, growing delays, and a watch over silence. */

/** Waits so many milliseconds. Rejects with the signal's reason as soon as that is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const end = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, ms);
    signal?.addEventListener("abort", end, { once: true });
  });
}

/** Doubling delays with jitter, so that a fleet does not come back in step. */
export class Backoff {
  readonly #first: number;
  readonly #longest: number;
  readonly #random: () => number;
  #next: number;

  constructor(firstMs = 250, longestMs = 15_000, random: () => number = Math.random) {
    [this.#first, this.#longest, this.#random, this.#next] = [firstMs, longestMs, random, firstMs];
  }

  /** It worked: the next trouble is a new one. */
  reset(): void {
    this.#next = this.#first;
  }

  /** Milliseconds to wait now; each call waits longer than the last, up to the longest. */
  delay(): number {
    const now = this.#next;
    this.#next = Math.min(now * 2, this.#longest);
    return now * (0.8 + 0.4 * this.#random());
  }
}

/** The other side said nothing for too long. */
export class Silence extends Error {}

/** Aborts its `signal` after `ms` without a `sign` of life, or when `outer` is aborted. */
export class Watchdog {
  readonly signal: AbortSignal;
  readonly #ms: number;
  readonly #silent = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number, outer?: AbortSignal) {
    this.#ms = ms;
    const signals = outer === undefined ? [this.#silent.signal] : [this.#silent.signal, outer];
    this.signal = AbortSignal.any(signals);
    this.sign();
  }

  sign(): void {
    clearTimeout(this.#timer);
    const reason = new Silence(`nothing was heard for ${this.#ms / 1000} s`);
    this.#timer = setTimeout(() => this.#silent.abort(reason), this.#ms);
  }

  /** Nothing more is expected. */
  done(): void {
    clearTimeout(this.#timer);
  }
}

/** Tasks that a block started: it waits for all, and the first that fails ends the others. */
export class Tasks {
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | null = null;
  readonly signal: AbortSignal;

  constructor(outer?: AbortSignal) {
    this.signal = outer === undefined ? this.#stop.signal : AbortSignal.any([this.#stop.signal, outer]);
  }

  start(task: (signal: AbortSignal) => Promise<void>): void {
    const running = task(this.signal)
      .catch((error: unknown) => this.fail(error))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Ends the others; the first failure is what `settle` throws. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#stop.abort(error);
  }

  /** Ends all, which is no failure. */
  stop(): void {
    this.#failure ??= { error: null };
    this.#stop.abort(new DOMException("no longer needed", "AbortError"));
  }

  /** Waits for all. Throws what made the first one fail. */
  async settle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    if (this.#failure !== null && this.#failure.error !== null) throw this.#failure.error;
  }
}
