/** Keys of one end, and their text form. */

import { SealError } from "../errors.js";

export type Bytes = Uint8Array<ArrayBuffer>;

const KEY_BYTES = 32;
const X25519 = { name: "X25519" };

/** A key pair. Its `publicKey` (43 letters) is what the other end pins. */
export class Identity {
  readonly publicBytes: Bytes;
  readonly publicKey: string;
  readonly #private: CryptoKey;

  private constructor(privateKey: CryptoKey, publicBytes: Bytes) {
    [this.#private, this.publicBytes, this.publicKey] = [privateKey, publicBytes, encode(publicBytes)];
  }

  /** A fresh key pair. Nobody can pin it unless it is kept (`toPem`) and its public half handed over. */
  static async generate(): Promise<Identity> {
    const pair = (await crypto.subtle.generateKey(X25519, true, ["deriveBits"])) as CryptoKeyPair;
    const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
    return new Identity(pair.privateKey, new Uint8Array(raw));
  }

  /** Reads what `toPem` gave, or any X25519 key as PKCS #8 in PEM. */
  static async fromPem(pem: string): Promise<Identity> {
    const base64 = pem.replace(/-----[^-]+-----/g, "").replace(/\s+/g, "");
    try {
      const key = await crypto.subtle.importKey("pkcs8", fromBase64(base64), X25519, true, ["deriveBits"]);
      const { x } = await crypto.subtle.exportKey("jwk", key);
      return new Identity(key, decode(x));
    } catch (error) {
      throw new SealError("the text holds no X25519 key as PKCS #8 in PEM", { cause: error });
    }
  }

  /** The private key as text. Who has it can open everything sealed for this identity. */
  async toPem(): Promise<string> {
    const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", this.#private));
    return `-----BEGIN PRIVATE KEY-----\n${toBase64(der)}\n-----END PRIVATE KEY-----\n`;
  }

  /** What only this key and the private half of `publicBytes` can know. */
  async exchange(publicBytes: Bytes): Promise<Bytes> {
    try {
      const theirs = await crypto.subtle.importKey("raw", publicBytes, X25519, false, []);
      const shared = new Uint8Array(await crypto.subtle.deriveBits({ ...X25519, public: theirs }, this.#private, 256));
      if (shared.some((byte) => byte !== 0)) return shared;
    } catch (error) {
      throw new SealError("the other end's key is not a usable one", { cause: error });
    }
    throw new SealError("the other end's key is not a usable one");
  }
}

/** URL-safe base64 without padding. */
export function encode(key: Uint8Array): string {
  return toBase64(key).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The key in `text`, which comes from a stranger. */
export function decode(text: unknown): Bytes {
  if (typeof text === "string" && /^[A-Za-z0-9_-]{43}$/.test(text)) {
    const key = fromBase64(`${text.replaceAll("-", "+").replaceAll("_", "/")}=`);
    // The last letter has two spare bits: one key has one text.
    if (key.length === KEY_BYTES && encode(key) === text) return key;
  }
  throw new SealError("the other end's key is not 32 bytes in URL-safe base64");
}

function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function fromBase64(text: string): Bytes {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
