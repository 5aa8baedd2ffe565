/** Server-sent events, read from bytes; no I/O here. */

/** A job's view with 1 MiB of metadata, escaped, and room to spare. */
export const LINE_MAX = 16 * 1024 * 1024;

/** One event; `id` is what to ask for when the connection has to be made again. */
export interface Frame {
  readonly event: string;
  readonly data: string;
  readonly id: string | null;
}

/** Feed bytes as they come, get whole frames; comments and unknown fields are passed over. */
export class Frames {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #event = "";
  #data: string[] = [];
  #size = 0;
  #id: string | null = null;

  /** The frames that `chunk` completes. Throws `RangeError` on an endless one. */
  feed(chunk: Uint8Array): Frame[] {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    this.#bound(this.#rest.length);
    return lines.map((line) => this.#line(line.replace(/\r$/, ""))).filter((frame) => frame !== null);
  }

  #line(line: string): Frame | null {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") {
      this.#event = value;
    } else if (name === "data") {
      this.#data.push(value);
      this.#size += value.length;
      this.#bound(0);
    } else if (name === "id" && !value.includes("\0")) {
      this.#id = value;
    }
    return null;
  }

  #bound(more: number): void {
    if (this.#size + more > LINE_MAX) throw new RangeError("an event of the server has no end");
  }

  #end(): Frame | null {
    const [event, data] = [this.#event || "message", this.#data];
    [this.#event, this.#data, this.#size] = ["", [], 0];
    return data.length > 0 ? { event, data: data.join("\n"), id: this.#id } : null;
  }
}
