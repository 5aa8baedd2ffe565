// MCP servers: a list, and a page for each with what runs there.

import { el, setAttr, setText, show } from "/assets/dom.js";
import { count, span, things, words } from "/assets/format.js";
import { subscribe } from "/assets/store.js";
import { LiveTable } from "/assets/table.js";

function statusOf(td) {
  const word = el("span");
  const node = el("span", { class: "status" }, el("span", { class: "dot", "aria-hidden": "true" }), word);
  td.append(node);
  return (server) => {
    setAttr(node, "data-state", server.status === "active" ? "working" : server.status);
    setText(word, words(server.status));
  };
}

function link(td) {
  const anchor = el("a", { class: "name" });
  const sub = el("span", { class: "sub" });
  td.append(anchor, sub);
  return (server) => {
    setText(anchor, server.name || server.id);
    setAttr(anchor, "href", `#mcp/${encodeURIComponent(server.id)}`);
    setText(sub, server.name === server.id ? "" : server.id);
  };
}

const plain = (of) => (td) => (row) => setText(td, of(row));
const running = (server) => Object.entries(server.functions ?? {}).map(([method, n]) => `${method}: ${n}`).join(", ") || "–";

const SERVERS = [
  { title: "Server", value: (s) => s.name || s.id, cell: link },
  { title: "Status", value: (s) => s.status, cell: statusOf },
  { title: "Calls running", value: (s) => s.inflight, first: "down", number: true, cell: plain((s) => count(s.inflight ?? 0)) },
  { title: "By method", value: running, cell: plain(running) },
];

const CALLS = [
  { title: "Method", value: (c) => c.method, cell: plain((c) => c.method) },
  { title: "Server", value: (c) => c.client_id, cell: plain((c) => c.client_id) },
  { title: "Running for", value: (c) => c.duration_ms, first: "down", number: true, cell: plain((c) => span(c.duration_ms)) },
  { title: "Call", value: (c) => c.id, cell: plain((c) => c.id) },
];

const callTable = () => new LiveTable({ caption: "Running calls", columns: CALLS, sort: 2, key: (call) => call.id, empty: "No call is running." });

class Mcp extends HTMLElement {
  connectedCallback() {
    this.servers = new LiveTable({ caption: "MCP servers", columns: SERVERS, sort: 0, empty: "No MCP server is connected. An agent offers one with `nfrx mcp`." });
    this.calls = callTable();
    this.replaceChildren(el("h2", { text: "MCP servers" }), this.servers.node, el("h3", { text: "Running calls" }), this.calls.node);
    this.stop = subscribe(({ mcp }) => {
      this.servers.update(mcp?.servers ?? []);
      this.calls.update(mcp?.sessions ?? []);
    });
  }

  disconnectedCallback() {
    this.stop?.();
  }
}

/** The page of one server: `#mcp/{id}`. */
class McpServer extends HTMLElement {
  connectedCallback() {
    this.title = el("h2");
    this.facts = el("p", { class: "quiet" });
    this.calls = callTable();
    this.tools = el("ul", { class: "chips" });
    this.toolSection = el("section", {}, el("h3", { text: "Tools" }), this.tools);
    this.stderr = el("pre", { tabindex: "0", "aria-label": "What the server last wrote to its standard error" });
    this.stderrSection = el("section", {}, el("h3", { text: "Standard error, the last lines" }), this.stderr);
    const address = el("code", { text: `${location.origin}/api/mcp/id/${encodeURIComponent(this.server)}` });
    this.replaceChildren(
      el("p", {}, el("a", { href: "#mcp", text: "← all MCP servers" })),
      this.title, this.facts, el("p", {}, "Clients connect to ", address),
      el("h3", { text: "Running calls" }), this.calls.node, this.toolSection, this.stderrSection,
    );
    this.stop = subscribe(({ mcp }) => this.update(mcp));
  }

  disconnectedCallback() {
    this.stop?.();
  }

  update(mcp) {
    const replicas = (mcp?.servers ?? []).filter((server) => server.id === this.server);
    const [first] = replicas;
    setText(this.title, first?.name || this.server);
    setText(this.facts, first ? `${words(first.status)} · ${things(replicas.length, "agent")} · ${things(first.inflight ?? 0, "call")} running` : "Not connected now.");
    this.calls.update((mcp?.sessions ?? []).filter((call) => call.client_id === this.server));
    this.list(first?.tools);
    const lines = first?.stderr ?? first?.last_stderr;
    show(this.stderrSection, Boolean(lines?.length));
    if (lines?.length) setText(this.stderr, Array.isArray(lines) ? lines.join("\n") : lines);
  }

  list(tools) {
    show(this.toolSection, Boolean(tools?.length));
    const names = (tools ?? []).map((tool) => (typeof tool === "string" ? tool : tool.name));
    if (this.listed === names.join("\n")) return;
    this.listed = names.join("\n");
    this.tools.replaceChildren(...names.map((name) => el("li", { text: name })));
  }
}

customElements.define("nfrx-mcp", Mcp);
customElements.define("nfrx-mcp-server", McpServer);
