// An MCP server over stdio, as hostile as it may be: it speaks the legacy era, complains on its
// standard error, and never ends a call.

import { createInterface } from "node:readline";

const HOSTILE = "<img src=x onerror=alert(1)>";

const ANSWERS = {
  initialize: () => ({ protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "shed", version: "7" } }),
  "tools/list": () => ({ tools: [{ name: "look", inputSchema: { type: "object" }, annotations: { readOnlyHint: true } }, { name: HOSTILE, inputSchema: { type: "object" } }] }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method } = JSON.parse(line);
  if (id === undefined || method === "tools/call") continue;
  if (method === "initialize") console.error(`the roof leaks ${HOSTILE}`);
  const result = ANSWERS[method]?.();
  console.log(JSON.stringify({ jsonrpc: "2.0", id, ...(result ? { result } : { error: { code: -32601, message: "Method not found" } }) }));
}
