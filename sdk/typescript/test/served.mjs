/** Puts a relay in memory on a port of this machine, beside files of this package. */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const TYPES = { js: "text/javascript", html: "text/html" };
const PACKAGE = new URL("../", import.meta.url);

/** Gives the address, a promise of what is posted to `/report`, and a way to end it. */
export async function serve(relay) {
  let report = () => undefined;
  const reported = new Promise((resolve) => (report = resolve));
  const server = createServer(async (request, response) => {
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    try {
      if (request.url.startsWith("/api/")) return await relayed(relay, request, response, gone.signal);
      if (request.url === "/report") report(new TextDecoder().decode(await body(request)));
      else await file(request.url.split("?")[0], response);
    } catch {
      response.destroy(); // An answer that breaks must not look whole.
      return;
    }
    response.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `http://127.0.0.1:${server.address().port}`,
    reported,
    close: () => (server.closeAllConnections(), server.close()),
  };
}

async function relayed(relay, request, response, signal) {
  const { method, headers } = request;
  const sent = method === "POST" ? await body(request) : undefined;
  const answer = await relay.fetch(`http://relay.test${request.url}`, { method, headers, body: sent, signal });
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.flushHeaders();
  for await (const piece of answer.body ?? []) response.write(piece);
  response.end();
}

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

async function file(path, response) {
  const [, place] = /^\/((?:dist|test)\/[\w./-]+)$/.exec(path) ?? [];
  if (place === undefined || place.includes("..")) {
    response.writeHead(404);
    return;
  }
  const data = await readFile(new URL(place, PACKAGE));
  response.writeHead(200, { "content-type": TYPES[place.split(".").at(-1)] ?? "text/plain" });
  response.write(data);
}
