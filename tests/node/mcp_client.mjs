// Uses an MCP server with the TypeScript client and prints a line for each thing that it answered, in a
// form that compares. Arguments: the server's address.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.NFRX_NODE_MODULES}/`);
const { Client, StreamableHTTPClientTransport } = await import(
  pathToFileURL(require.resolve("@modelcontextprotocol/client")).href
);

const client = new Client(
  { name: "nfrx-test", version: "1" },
  { capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } } },
);
client.setRequestHandler("sampling/createMessage", () => ({
  role: "assistant",
  model: "test",
  content: { type: "text", text: "sampled" },
}));
client.setRequestHandler("elicitation/create", () => ({
  action: "accept",
  content: { username: "ann", email: "ann@example.org", name: "ann" },
}));
client.setRequestHandler("roots/list", () => ({ roots: [] }));

const say = (what, value) => console.log(what, JSON.stringify(value));

await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[2])));
say("server", client.getServerVersion());
say("capabilities", client.getServerCapabilities());
const { tools } = await client.listTools();
say("tools", tools);
say("prompts", await client.listPrompts());
say("resources", await client.listResources());
const has = (name) => tools.some((tool) => tool.name === name);
const call = (name, args, options) => client.callTool({ name, arguments: args }, options);
if (has("echo")) say("echo", await call("echo", { message: "grüße" }));
if (has("get-tiny-image")) say("image", await call("get-tiny-image", {}));
if (has("trigger-sampling-request")) say("sampling", await call("trigger-sampling-request", { prompt: "hi", maxTokens: 5 }));
if (has("trigger-elicitation-request")) say("elicitation", await call("trigger-elicitation-request", {}));
if (has("trigger-long-running-operation")) {
  const seen = [];
  const onprogress = ({ progress }) => seen.push(progress);
  say("long", await call("trigger-long-running-operation", { duration: 1, steps: 4 }, { onprogress }));
  say("progress", seen);
}
if (has("test_tool_with_progress")) {
  const seen = [];
  say("call", await call("test_tool_with_progress", {}, { onprogress: ({ progress }) => seen.push(progress) }));
  say("progress", seen);
}
if (has("test_sampling")) say("sampling", await call("test_sampling", { prompt: "hi" }));
if (has("test_elicitation")) say("elicitation", await call("test_elicitation", { message: "who" }));
await client.close();
