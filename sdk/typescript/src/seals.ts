/** What a sealing scheme does for the two ends of a job; see `sealed` for the scheme. */

import { SealError } from "./errors.js";
import { type Channel, isObject, type Json } from "./models.js";

/** Plain bytes out of sealed ones. Each piece is genuine; the loop's end says that none is missing. */
export interface Opened {
  readonly pieces: AsyncIterable<Uint8Array>;
  readonly contentType: string | null;
}

type Pieces = AsyncIterable<Uint8Array>;

/** One scheme with this end's keys. All methods throw or reject with `SealError` on a mismatch. */
export interface Seal {
  readonly scheme: string;
  /** The content type that sealed bytes travel under. */
  readonly mediaType: string;
  /** Client: the members of a job's metadata that say how it wants to be answered. */
  offer(): Json;
  /** Client: bytes that only the worker can open who asked for the channel. */
  sealPayload(channel: Channel, jobId: string, contentType: string | null, pieces: Pieces): Pieces;
  /** Client: what the worker sealed for us. */
  openResult(channel: Channel, jobId: string, pieces: Pieces): Promise<Opened>;
  /** Worker: what to say when asking for a payload. */
  payloadProperties(metadata: Json): Json;
  /** Worker: what the client sealed for us. */
  openPayload(metadata: Json, jobId: string, key: string, pieces: Pieces): Promise<Opened>;
  /** Worker: what to say when asking where a result goes. */
  resultProperties(metadata: Json): Json;
  /** Worker: bytes that only the job's client can open. */
  sealResult(metadata: Json, jobId: string, key: string, contentType: string | null, pieces: Pieces): Pieces;
}

/** What a job's client says about sealing, null for a plain job. */
export function wanted(metadata: Json): Json | null {
  return isObject(metadata.secure_transfer) ? metadata.secure_transfer : null;
}

/** The first of `seals` that the job's client takes; null if the job is not sealed. */
export function choose(seals: readonly Seal[], metadata: Json): Seal | null {
  const asked = wanted(metadata);
  if (asked === null) return null;
  const offered: unknown[] = Array.isArray(asked.supported_schemes) ? asked.supported_schemes : [];
  const found = seals.find((seal) => offered.includes(seal.scheme));
  if (found !== undefined) return found;
  const ours = seals.map((seal) => seal.scheme).join(", ") || "none";
  throw new SealError(`the job is sealed with ${offered.join(", ")}; this worker has: ${ours}`);
}
