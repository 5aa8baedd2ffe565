/**
 * What the server tells about jobs and channels, as typed values. Each keeps the JSON it came from
 * in `raw`, so that members which are younger than this package can be read all the same.
 */

export type Json = Readonly<Record<string, unknown>>;

/** A one-time pipe between one writer and one reader. */
export interface Channel {
  readonly id: string;
  /** A path below the server. */
  readonly url: string;
  readonly key: string;
  readonly expiresAt: string | null;
  /** What the asking side said about the bytes. */
  readonly properties: Json;
  /** `open`, `joined`, `done`, `expired` or `failed`; null from servers that do not tell. */
  readonly state: string | null;
  readonly raw: Json;
}

/** A job as it was at one moment. */
export interface Job {
  readonly id: string;
  readonly type: string;
  readonly status: string;
  readonly metadata: Json;
  readonly progress: Json;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly payloads: ReadonlyMap<string, Channel>;
  readonly results: ReadonlyMap<string, Channel>;
  /** 1 for the next one; null unless queued. */
  readonly queuePosition: number | null;
  readonly claimedWorkerId: string | null;
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
  readonly raw: Json;
}

/** Something that happened to a watched job: a new state, or a channel to send to or fetch from. */
export type Event =
  | { readonly kind: "status"; readonly job: Job }
  | { readonly kind: "payload" | "result"; readonly channel: Channel };

/** A job handed to a worker. Without a token the server knows no leases. */
export interface Claim {
  readonly jobId: string;
  readonly type: string;
  readonly metadata: Json;
  readonly attempt: number;
  readonly leaseSeconds: number | null;
  readonly token: string | null;
}

const TERMINAL: ReadonlySet<string> = new Set(["completed", "failed", "canceled"]);

/** Whether nothing will change any more. */
export function isTerminal(job: Job): boolean {
  return TERMINAL.has(job.status);
}

/** `value` if it is an object with named members, else an empty one. */
export function asObject(value: unknown): Json {
  return isObject(value) ? value : {};
}

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(raw: Json, name: string): string | null {
  const value = raw[name];
  return typeof value === "string" && value !== "" ? value : null;
}

/** Reads a channel of an event, of a job's view, or of the answer that made it. */
export function readChannel(raw: Json, key = ""): Channel {
  const named = text(raw, "channel_id");
  const given = text(raw, "url") ?? text(raw, "reader_url") ?? text(raw, "writer_url");
  const url = given ?? `/api/transfer/${named ?? ""}`;
  return {
    id: named ?? url.slice(url.lastIndexOf("/") + 1),
    url,
    key: typeof raw.key === "string" ? raw.key : key,
    expiresAt: text(raw, "expires_at"),
    properties: asObject(raw.properties),
    state: text(raw, "state"),
    raw,
  };
}

export function readJob(raw: Json): Job {
  const error = isObject(raw.error) ? raw.error : null;
  return {
    id: text(raw, "id") ?? "",
    type: text(raw, "type") ?? "",
    status: text(raw, "status") ?? "",
    metadata: asObject(raw.metadata),
    progress: asObject(raw.progress),
    error: error && { code: text(error, "code") ?? "", message: text(error, "message") ?? "" },
    payloads: readChannels(raw.payloads),
    results: readChannels(raw.results),
    queuePosition: typeof raw.queue_position === "number" ? raw.queue_position : null,
    claimedWorkerId: text(raw, "claimed_worker_id"),
    createdAt: text(raw, "created_at"),
    updatedAt: text(raw, "updated_at"),
    raw,
  };
}

function readChannels(raw: unknown): ReadonlyMap<string, Channel> {
  const found = Object.entries(asObject(raw)).filter(([, item]) => isObject(item));
  return new Map(found.map(([key, item]) => [key, readChannel(asObject(item), key)]));
}

export function readClaim(raw: Json): Claim {
  const lease = raw.lease_seconds;
  return {
    jobId: text(raw, "job_id") ?? text(raw, "id") ?? "",
    type: text(raw, "type") ?? "",
    metadata: asObject(raw.metadata),
    attempt: typeof raw.attempt === "number" ? raw.attempt : 1,
    leaseSeconds: typeof lease === "number" && lease > 0 ? lease : null,
    token: text(raw, "claim_token"),
  };
}
