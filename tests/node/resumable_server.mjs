// An MCP server of the legacy era that keeps what its streams said, so that a client whose connection broke
// gets the rest. One tool works for a while and tells of its progress. Prints `ready ADDRESS`.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.NFRX_NODE_MODULES}/`);
const load = (path) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${path}`)).href);
const { McpServer } = await load("server/mcp.js");
const { StreamableHTTPServerTransport } = await load("server/streamableHttp.js");

const STEPS = 6;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Everything that was said, in order; an event's id names its stream and its place.
class Events {
  #said = [];

  async storeEvent(stream, message) {
    const id = `${stream}#${this.#said.length}`;
    this.#said.push({ id, stream, message });
    return id;
  }

  async getStreamIdForEventId(id) {
    return this.#said.find((event) => event.id === id)?.stream;
  }

  async replayEventsAfter(last, { send }) {
    const at = this.#said.findIndex((event) => event.id === last);
    const { stream } = this.#said[at];
    for (const event of this.#said.slice(at + 1)) {
      if (event.stream === stream && event.message.jsonrpc) await send(event.id, event.message);
    }
    return stream;
  }
}

function serverWithTool() {
  const server = new McpServer({ name: "resumable", version: "1" });
  server.registerTool("work", { description: "Works in steps" }, async (extra) => {
    const progressToken = extra._meta?.progressToken;
    for (let progress = 1; progress <= STEPS; progress += 1) {
      await pause(300);
      await extra.sendNotification({
        method: "notifications/progress",
        params: { progressToken, progress, total: STEPS },
      });
    }
    return { content: [{ type: "text", text: "done" }] };
  });
  return server;
}

const sessions = new Map();

async function transportOf(request) {
  const known = sessions.get(request.headers["mcp-session-id"]);
  if (known) return known;
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: new Events(),
    retryInterval: 200,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  await serverWithTool().connect(transport);
  return transport;
}

const listener = createServer(async (request, response) => {
  const transport = await transportOf(request);
  await transport.handleRequest(request, response);
});
listener.listen(0, "127.0.0.1", () => console.log(`ready http://127.0.0.1:${listener.address().port}/mcp`));
process.stdin.resume().on("end", () => process.exit());
