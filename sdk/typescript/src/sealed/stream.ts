/**
 * Bytes sealed in chunks, from one key pair to another. A wrong chunk is found before any of its
 * bytes are given out, a missing end by `finish`. `sdk/SEALED.md` describes every byte.
 */

import { join } from "../bodies.js";
import { SealError } from "../errors.js";
import { type Bytes, Identity } from "./keys.js";

export const SCHEME = "x25519-aesgcm-v1";
export const CHUNK = 64 * 1024;
export const TAG = 16;
const MAGIC = join([new TextEncoder().encode("nfrxseal"), Uint8Array.of(1)]);
export const HEADER = MAGIC.length + 64;

/** What the bytes are; both ends must mean the same, or nothing opens. */
export interface Context {
  readonly jobId: string;
  readonly kind: "payload" | "result";
  readonly key: string;
}

async function cipher(shared: Bytes, publicKeys: readonly Bytes[], context: Context): Promise<CryptoKey> {
  const parts = [context.jobId, context.kind, context.key].flatMap((text) => {
    const part = new TextEncoder().encode(text);
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, part.length);
    return [length, part];
  });
  const info = join([new TextEncoder().encode(`${SCHEME}\0`), ...publicKeys, ...parts]);
  const secret = await crypto.subtle.importKey("raw", shared, "HKDF", false, ["deriveKey"]);
  const hkdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info };
  return crypto.subtle.deriveKey(hkdf, secret, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

function algorithm(number: number, last: boolean): AesGcmParams {
  const iv = new Uint8Array(12);
  // Eleven bytes of number; a safe integer fills seven of them at most.
  new DataView(iv.buffer).setBigUint64(3, BigInt(number));
  iv[11] = last ? 1 : 0;
  return { name: "AES-GCM", iv };
}

/** Bytes that wait until they are enough for a chunk, without copying them at each step. */
class Waiting {
  #parts: Uint8Array[] = [];
  size = 0;

  add(piece: Uint8Array): void {
    if (piece.length > 0) this.#parts.push(piece);
    this.size += piece.length;
  }

  /** The first `size` bytes. */
  take(size: number): Bytes {
    const taken: Uint8Array[] = [];
    let missing = size;
    while (missing > 0) {
      const part = this.#parts[0];
      if (part === undefined) break;
      taken.push(part.subarray(0, missing));
      if (part.length > missing) this.#parts[0] = part.subarray(missing);
      else this.#parts.shift();
      missing -= Math.min(missing, part.length);
    }
    this.size -= size - missing;
    return join(taken);
  }
}

/** Seals for one recipient. */
export class Sealer {
  readonly #cipher: CryptoKey;
  readonly #plain = new Waiting();
  /** What goes in front of everything. */
  readonly header: Bytes;
  #number = 0;

  private constructor(key: CryptoKey, header: Bytes) {
    [this.#cipher, this.header] = [key, header];
  }

  static async create(sender: Identity, recipient: Bytes, context: Context): Promise<Sealer> {
    // A new one per message: so no key is used twice, and nonces may count from nought.
    const once = await Identity.generate();
    const shared = join([await once.exchange(recipient), await sender.exchange(recipient)]);
    const key = await cipher(shared, [once.publicBytes, sender.publicBytes, recipient], context);
    return new Sealer(key, join([MAGIC, once.publicBytes, sender.publicBytes]));
  }

  /** Takes plain bytes, gives what is ready to be sent. */
  async update(piece: Uint8Array): Promise<Bytes> {
    this.#plain.add(piece);
    const sealed: Bytes[] = [];
    // The last chunk is marked, so one is held back until more comes.
    while (this.#plain.size > CHUNK) sealed.push(await this.#seal(CHUNK, false));
    return join(sealed);
  }

  /** The rest. */
  finish(): Promise<Bytes> {
    return this.#seal(this.#plain.size, true);
  }

  async #seal(size: number, last: boolean): Promise<Bytes> {
    const nonce = algorithm(this.#number, last);
    this.#number += 1;
    return new Uint8Array(await crypto.subtle.encrypt(nonce, this.#cipher, this.#plain.take(size)));
  }
}

/** Opens what was sealed for `recipient`. `sender` is known once the header is there. */
export class Opener {
  readonly #recipient: Identity;
  readonly #context: Context;
  readonly #sealed = new Waiting();
  #cipher: CryptoKey | null = null;
  #number = 0;
  sender: Bytes | null = null;

  constructor(recipient: Identity, context: Context) {
    [this.#recipient, this.#context] = [recipient, context];
  }

  /** Takes sealed bytes, gives plain ones that are genuine. */
  async update(piece: Uint8Array): Promise<Bytes> {
    this.#sealed.add(piece);
    if (this.#cipher === null) {
      if (this.#sealed.size < HEADER) return new Uint8Array(0);
      this.#cipher = await this.#openHeader();
    }
    const plain: Bytes[] = [];
    while (this.#sealed.size > CHUNK + TAG) plain.push(await this.#open(this.#cipher, CHUNK + TAG, false));
    return join(plain);
  }

  /** The rest. Rejects with `SealError` when something is missing. */
  async finish(): Promise<Bytes> {
    if (this.#cipher === null) throw new SealError("the sealed bytes were cut off");
    return this.#open(this.#cipher, this.#sealed.size, true);
  }

  async #openHeader(): Promise<CryptoKey> {
    const header = this.#sealed.take(HEADER);
    if (MAGIC.some((byte, at) => header[at] !== byte)) throw new SealError(`the bytes are not sealed with ${SCHEME}`);
    const once = header.slice(MAGIC.length, MAGIC.length + 32);
    this.sender = header.slice(MAGIC.length + 32);
    const ours = this.#recipient;
    const shared = join([await ours.exchange(once), await ours.exchange(this.sender)]);
    return cipher(shared, [once, this.sender, ours.publicBytes], this.#context);
  }

  async #open(key: CryptoKey, size: number, last: boolean): Promise<Bytes> {
    try {
      const nonce = algorithm(this.#number, last);
      this.#number += 1;
      return new Uint8Array(await crypto.subtle.decrypt(nonce, key, this.#sealed.take(size)));
    } catch (error) {
      throw new SealError("the sealed bytes were altered, cut off, or meant for somebody else", { cause: error });
    }
  }
}
