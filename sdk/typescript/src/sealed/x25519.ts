/** The scheme `x25519-aesgcm-v1` for the two ends of a job. */

import { join } from "../bodies.js";
import { SealError } from "../errors.js";
import type { Channel, Json } from "../models.js";
import { type Opened, type Seal, wanted } from "../seals.js";
import { type Bytes, decode, encode, Identity } from "./keys.js";
import { type Context, Opener, SCHEME, Sealer } from "./stream.js";

type Pieces = AsyncIterable<Uint8Array>;

/** A content type in front of the bytes, its length in two of them. */
const TYPE_PREFIX = 2;
const TYPE_MAX = 255;

/**
 * Seals with an identity and, if `peers` is given, trusts those public keys only. Without `peers` the
 * bytes are safe from who looks on, but not from a server that puts a key of its own in the place of
 * the other end's.
 */
export class X25519Seal implements Seal {
  readonly scheme = SCHEME;
  readonly mediaType = "application/vnd.nfrx.sealed";
  readonly identity: Identity;
  readonly #peers: ReadonlySet<string> | null;

  constructor(identity: Identity, peers?: Iterable<string>) {
    this.identity = identity;
    this.#peers = peers === undefined ? null : new Set([...peers].map((peer) => encode(decode(peer))));
  }

  offer(): Json {
    return { secure_transfer: { supported_schemes: [SCHEME], recipient_key: this.identity.publicKey } };
  }

  sealPayload(channel: Channel, jobId: string, contentType: string | null, pieces: Pieces): Pieces {
    agree(channel.properties);
    const recipient = this.#trusted(decode(channel.properties.recipient_key));
    return seal(this.identity, recipient, { jobId, kind: "payload", key: channel.key }, contentType, pieces);
  }

  async openResult(channel: Channel, jobId: string, pieces: Pieces): Promise<Opened> {
    agree(channel.properties);
    const opener = new Opener(this.identity, { jobId, kind: "result", key: channel.key });
    return open(opener, pieces, (sender) => void this.#trusted(sender));
  }

  payloadProperties(metadata: Json): Json {
    this.#client(metadata);
    return { encryption_scheme: SCHEME, recipient_key: this.identity.publicKey };
  }

  async openPayload(metadata: Json, jobId: string, key: string, pieces: Pieces): Promise<Opened> {
    const client = encode(this.#client(metadata));
    return open(new Opener(this.identity, { jobId, kind: "payload", key }), pieces, (sender) => {
      if (encode(sender) !== client) throw new SealError("the payload does not come from the job's client");
    });
  }

  resultProperties(metadata: Json): Json {
    this.#client(metadata);
    return { encryption_scheme: SCHEME };
  }

  sealResult(metadata: Json, jobId: string, key: string, contentType: string | null, pieces: Pieces): Pieces {
    return seal(this.identity, this.#client(metadata), { jobId, kind: "result", key }, contentType, pieces);
  }

  #client(metadata: Json): Bytes {
    return this.#trusted(decode(wanted(metadata)?.recipient_key));
  }

  #trusted(key: Bytes): Bytes {
    if (this.#peers !== null && !this.#peers.has(encode(key))) {
      throw new SealError("the other end's key is not one of the pinned keys");
    }
    return key;
  }
}

/** Never falls back to plain bytes: who can alter properties would ask for just that. */
function agree(properties: Json): void {
  if (properties.encryption_scheme !== SCHEME) throw new SealError(`the worker does not seal with ${SCHEME}`);
}

async function* seal(sender: Identity, recipient: Bytes, context: Context, contentType: string | null, pieces: Pieces): AsyncGenerator<Uint8Array> {
  const name = new TextEncoder().encode(contentType ?? "");
  if (name.length > TYPE_MAX) throw new RangeError(`a content type has at most ${TYPE_MAX} bytes`);
  const sealer = await Sealer.create(sender, recipient, context);
  yield sealer.header;
  await sealer.update(join([Uint8Array.of(0, name.length), name]));
  for await (const piece of pieces) {
    const sealed = await sealer.update(piece);
    if (sealed.length > 0) yield sealed;
  }
  yield await sealer.finish();
}

/** Reads up to the content type, which is where the sender can be judged. */
async function open(opener: Opener, pieces: Pieces, judge: (sender: Bytes) => void): Promise<Opened> {
  const rest = plain(opener, pieces, judge);
  let start = new Uint8Array(0);
  while (start.length < TYPE_PREFIX || start.length < typeEnd(start)) {
    const { done, value } = await rest.next();
    if (done === true) throw new SealError("the sealed bytes have no content type");
    start = join([start, value]);
  }
  const end = typeEnd(start);
  const name = new TextDecoder().decode(start.subarray(TYPE_PREFIX, end));
  return { pieces: after(start.subarray(end), rest), contentType: name === "" ? null : name };
}

function typeEnd(start: Uint8Array): number {
  const length = ((start[0] ?? 0) << 8) + (start[1] ?? 0);
  if (length > TYPE_MAX) throw new SealError("the sealed bytes have no content type");
  return TYPE_PREFIX + length;
}

async function* after(first: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first;
  yield* rest;
}

async function* plain(opener: Opener, pieces: Pieces, judge: (sender: Bytes) => void): AsyncGenerator<Uint8Array> {
  let judged = false;
  for await (const piece of pieces) {
    const opened = await opener.update(piece);
    if (opener.sender !== null && !judged) {
      judge(opener.sender);
      judged = true;
    }
    if (opened.length > 0) yield opened;
  }
  yield await opener.finish();
}
