/** Sealed jobs: the server passes their bytes on and cannot read them. */

export { Identity } from "./sealed/keys.js";
export { X25519Seal } from "./sealed/x25519.js";
