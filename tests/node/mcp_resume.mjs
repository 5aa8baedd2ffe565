// Calls the tool of resumable_server.mjs and prints each progress as it comes, then the answer. Arguments:
// the server's address.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.NFRX_NODE_MODULES}/`);
const { Client, StreamableHTTPClientTransport } = await import(
  pathToFileURL(require.resolve("@modelcontextprotocol/client")).href
);

const client = new Client({ name: "nfrx-test", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[2])));
const onprogress = ({ progress }) => console.log("progress", progress);
const answer = await client.callTool({ name: "work", arguments: {} }, { onprogress });
console.log("answer", answer.content[0].text);
process.exit();
