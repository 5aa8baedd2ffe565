/** Following one job's events over broken connections. */

import { ApiError, ConnectionLost } from "./errors.js";
import { type Http, jobPath } from "./http.js";
import { type Channel, type Event, isObject, isTerminal, type Job, readChannel, readJob } from "./models.js";
import { type Frame, Frames } from "./sse.js";
import { Backoff, sleep } from "./waiting.js";

/** How long a server may be away, as during a restart, before a watcher gives up. */
const PATIENCE_MS = 120_000;

/**
 * Each event of a job up to its terminal status, each channel once. A connection that breaks is made
 * again where it stopped. The first event is the state now.
 */
export async function* watch(http: Http, jobId: string, signal?: AbortSignal): AsyncGenerator<Event> {
  const seen = new Set<string>();
  const backoff = new Backoff();
  let lastId: string | null = null;
  let lostAt: number | null = null;
  for (;;) {
    let reason: unknown = new ConnectionLost(`events of job ${jobId}: the stream ended early`);
    try {
      for await (const frame of frames(http, jobId, lastId, signal)) {
        lastId = frame.id ?? lastId;
        lostAt = null;
        backoff.reset();
        for (const event of readEvents(frame, seen)) {
          yield event;
          if (event.kind === "status" && isTerminal(event.job)) return;
        }
      }
    } catch (error) {
      signal?.throwIfAborted();
      const passing = error instanceof ConnectionLost || (error instanceof ApiError && error.status >= 500);
      if (!passing) throw error;
      reason = error;
    }
    lostAt ??= performance.now();
    if (performance.now() - lostAt > PATIENCE_MS) throw reason;
    await sleep(backoff.delay(), signal);
  }
}

async function* frames(http: Http, jobId: string, lastId: string | null, signal?: AbortSignal): AsyncGenerator<Frame> {
  const headers = { accept: "text/event-stream", ...(lastId === null ? {} : { "last-event-id": lastId }) };
  const answer = await http.open("GET", jobPath(jobId, "events"), undefined, { headers, signal });
  try {
    const parser = new Frames();
    for await (const chunk of answer.pieces) yield* parser.feed(chunk);
  } finally {
    answer.close();
  }
}

/** The events in a frame. A channel may be told twice, and by a status alone to who came late. */
export function readEvents(frame: Frame, seen: Set<string>): Event[] {
  const data: unknown = JSON.parse(frame.data);
  if (!isObject(data)) return [];
  switch (frame.event) {
    case "status": {
      const job = readJob(data);
      return [...missed(job, seen), { kind: "status", job }];
    }
    case "payload":
    case "result":
      return once(frame.event, readChannel(data, frame.event), seen);
    default:
      return [];
  }
}

/** Channels that wait for us although their event was sent before we watched. */
function missed(job: Job, seen: Set<string>): Event[] {
  const of = (kind: "payload" | "result", channels: ReadonlyMap<string, Channel>): Event[] =>
    [...channels.values()]
      // A server that tells no state of channels is asked only for what the status waits for.
      .filter(({ state }) => state === "open" || (state === null && job.status === `awaiting_${kind}`))
      .flatMap((channel) => once(kind, channel, seen));
  return [...of("payload", job.payloads), ...of("result", job.results)];
}

function once(kind: "payload" | "result", channel: Channel, seen: Set<string>): Event[] {
  if (seen.has(channel.id)) return [];
  seen.add(channel.id);
  return [{ kind, channel }];
}
