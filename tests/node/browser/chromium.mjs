// A headless Chromium, driven through its DevTools protocol: no package is needed for that.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Longer than anything takes on a busy machine; a test that gets here has failed. */
const PATIENCE_MS = 60_000;

export class Chromium {
  /** Starts a browser that keeps nothing. */
  static async start(path) {
    const profile = await mkdtemp(join(tmpdir(), "nfrx-browser-"));
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
    const child = spawn(path, [...flags, `--user-data-dir=${profile}`, "--remote-debugging-port=0", "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
    const url = await new Promise((resolve, reject) => {
      let said = "";
      child.stderr.on("data", (bytes) => {
        said += bytes;
        const found = said.match(/DevTools listening on (ws:\S+)/);
        if (found) resolve(found[1]);
      });
      child.on("exit", (code) => reject(new Error(`${path} ended with ${code}:\n${said}`)));
    });
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
    return new Chromium(child, profile, socket);
  }

  constructor(child, profile, socket) {
    Object.assign(this, { child, profile, socket, next: 1, waiting: new Map(), pages: new Map() });
    socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
  }

  hear({ id, result, error, method, params, sessionId }) {
    if (id === undefined) return this.pages.get(sessionId)?.hear(method, params);
    const { resolve, reject } = this.waiting.get(id);
    this.waiting.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.next++;
    this.socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  /** A new page of this size, at an address. */
  async open(url, width, height) {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId);
    this.pages.set(sessionId, page);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await page.send(`${domain}.enable`);
    await page.resize(width, height);
    await page.send("Page.navigate", { url });
    return page;
  }

  async stop() {
    this.child.removeAllListeners("exit");
    const ended = new Promise((resolve) => this.child.on("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** One page: what it did wrong is collected in `errors`, whom it asked in `requests`. */
class Page {
  constructor(browser, session) {
    Object.assign(this, { browser, session, errors: [], requests: [] });
  }

  hear(method, params) {
    if (method === "Runtime.exceptionThrown") this.errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type)) this.errors.push(params.args.map((arg) => arg.value ?? arg.description).join(" "));
    if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) this.errors.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    if (method === "Page.javascriptDialogOpening") this.errors.push(`a dialog: ${params.message}`);
    if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
  }

  send(method, params = {}) {
    return this.browser.send(method, params, this.session);
  }

  resize(width, height) {
    return this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 500 });
  }

  theme(value) {
    return this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
  }

  /** Runs a function in the page and gives what it gives. */
  async run(func, ...args) {
    const expression = `(${func})(...${JSON.stringify(args)})`;
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    if (exceptionDetails) throw new Error(`in the page: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  /** Waits until a function in the page gives something true, and gives that. */
  async until(what, func, ...args) {
    const end = performance.now() + PATIENCE_MS;
    while (performance.now() < end) {
      const value = await this.run(func, ...args).catch(() => undefined);
      if (value) return value;
      // The page's own next frame, not a time of ours.
      await this.run(() => new Promise((next) => requestAnimationFrame(() => next()))).catch(() => {});
    }
    const text = await this.run(() => document.body.innerText);
    throw new Error(`never came: ${what}; the page shows:\n${text}\nerrors: ${this.errors.join("\n")}`);
  }

  /** Keeps a picture of the page. */
  async picture(file) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    await writeFile(file, Buffer.from(data, "base64"));
  }
}
