// MCP servers: a list, and a page for each with what runs there.

import { mayAct } from "/assets/actions.js";
import { KeyedList, el, setAttr, setText, show } from "/assets/dom.js";
import { count, span, things, words } from "/assets/format.js";
import { onRights } from "/assets/session.js";
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

/** What one agent tells of a server, which only an operator may ask. */
function portrait() {
  const agent = el("h3");
  const facts = el("p", { class: "quiet" });
  const tools = el("ul", { class: "chips" });
  const stderr = el("pre", { tabindex: "0", "aria-label": "What the server last wrote to its standard error" });
  const stderrSection = el("div", {}, el("h4", { text: "Standard error, the last lines" }), stderr);
  const node = el("section", {}, agent, facts, tools, stderrSection);
  return {
    node,
    update(told) {
      const about = told.about ?? {};
      const problem = told.problem ?? about.problem;
      const known = [about.software, about.revision && `MCP ${about.revision}`, things(about.tools?.length ?? 0, "tool")];
      setText(agent, `At the agent ${told.agent}`);
      setText(facts, problem ? `It tells no tools: ${problem}.` : known.filter(Boolean).join(" · "));
      tools.replaceChildren(...(about.tools ?? []).map(({ name, read_only }) => el("li", { text: read_only ? `${name} (reads only)` : name })));
      show(stderrSection, Array.isArray(about.stderr));
      setText(stderr, about.stderr?.join("\n") || "It has said nothing yet.");
    },
  };
}

/** The page of one server: `#mcp/{id}`. */
class McpServer extends HTMLElement {
  connectedCallback() {
    this.heading = el("h2");
    this.facts = el("p", { class: "quiet" });
    this.calls = callTable();
    this.note = el("p", { class: "quiet", role: "status" });
    const agents = el("div");
    this.agents = new KeyedList(agents, (told) => told.agent, portrait);
    this.again = el("button", { type: "button", class: "small", text: "Ask again", onclick: () => this.ask() });
    const address = el("code", { text: `${location.origin}/api/mcp/id/${encodeURIComponent(this.server)}` });
    this.replaceChildren(
      el("p", {}, el("a", { href: "#mcp", text: "← all MCP servers" })),
      this.heading, this.facts, el("p", {}, "Clients connect to ", address),
      el("h3", { text: "Running calls" }), this.calls.node,
      el("h3", { text: "Tools" }), this.note, agents, this.again,
    );
    this.stop = subscribe(({ mcp }) => this.update(mcp));
    this.stopRights = onRights(() => this.ask());
    this.ask();
  }

  disconnectedCallback() {
    this.stop?.();
    this.stopRights?.();
  }

  update(mcp) {
    const replicas = (mcp?.servers ?? []).filter((server) => server.id === this.server);
    const [first] = replicas;
    setText(this.heading, first?.name || this.server);
    setText(this.facts, first ? `${words(first.status)} · ${things(replicas.length, "agent")} · ${things(first.inflight ?? 0, "call")} running` : "Not connected now.");
    this.calls.update((mcp?.sessions ?? []).filter((call) => call.client_id === this.server));
  }

  /** Has the agents asked: once, for each answer is a conversation with the server. */
  async ask() {
    show(this.again, mayAct());
    if (!mayAct()) return this.tell([], "Tools and standard error are shown to administrators: sign in with an admin key.");
    if (this.asking) return;
    this.asking = true;
    setText(this.note, "Asking …");
    try {
      const response = await fetch(`/api/mcp/operator/${encodeURIComponent(this.server)}`, { cache: "no-store" });
      if (response.ok) this.tell((await response.json()).agents, "");
      else this.tell([], response.status === 404 ? "No agent offers this server now." : `The server answered ${response.status}.`);
    } catch (error) {
      this.tell([], `No connection (${error.message}).`);
    } finally {
      this.asking = false;
    }
  }

  tell(agents, note) {
    this.agents.update(agents);
    setText(this.note, note);
    show(this.note, Boolean(note));
  }
}

customElements.define("nfrx-mcp", Mcp);
customElements.define("nfrx-mcp-server", McpServer);
