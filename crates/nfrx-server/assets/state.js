// The state page. It shows what /api/state/stream sends; every text that comes from a
// worker becomes a text node, never HTML.

const KEY = "nfrx_key";
const RETRY_MS = 1000;

const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = String(text);
  if (className) node.className = className;
  return node;
}

function table(columns, rows) {
  const head = element("tr");
  for (const [title, , kind] of columns) {
    // "bad" colours what is bad, not its heading.
    head.append(element("th", title, kind === "number" ? kind : undefined));
  }
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    for (const [, value, kind] of columns) line.append(element("td", value(row), kind));
    body.append(line);
  }
  const whole = element("table");
  const top = element("thead");
  top.append(head);
  whole.append(top, body);
  const scroll = element("div", undefined, "scroll");
  scroll.append(whole);
  return scroll;
}

const WORKERS = [
  ["worker", (w) => w.name || w.id],
  ["status", (w) => w.status],
  ["busy", (w) => `${w.inflight ?? 0} / ${w.max_concurrency ?? 0}`, "number"],
  ["done", (w) => w.processed_total ?? 0, "number"],
  ["failed", (w) => w.failures_total ?? 0, "number"],
  ["average", (w) => `${Math.round(w.avg_processing_ms ?? 0)} ms`, "number"],
  ["tokens in / out", (w) => `${w.input_tokens_total ?? 0} / ${w.output_tokens_total ?? 0}`, "number"],
  ["host", (w) => w.host_info?.hostname ?? ""],
  ["last error", (w) => w.last_error ?? "", "bad"],
];

const MODELS = [
  ["model", (m) => m.name],
  ["workers", (m) => m.workers, "number"],
];

function section(id, state) {
  const node = element("section");
  const server = state.server ?? {};
  node.append(element("h2", id));
  const facts = [
    `${server.jobs_inflight_total ?? 0} in flight`,
    `${server.scheduler_queue_len ?? 0} of ${server.scheduler_queue_capacity ?? 0} queued`,
    `${server.jobs_completed_total ?? 0} completed`,
    `${server.jobs_failed_total ?? 0} failed`,
  ];
  if (server.state) facts.unshift(server.state.replace("_", " "));
  node.append(element("p", facts.join(" · "), "quiet"));
  node.append(state.workers.length ? table(WORKERS, state.workers) : element("p", "No worker is connected."));
  if (state.models?.length) node.append(table(MODELS, state.models));
  return node;
}

function show(envelope) {
  const sections = Object.entries(envelope.plugins)
    .filter(([, state]) => Array.isArray(state?.workers))
    .map(([id, state]) => section(id, state));
  byId("plugins").replaceChildren(...sections);
  byId("status").textContent = `updated ${new Date().toLocaleTimeString()}`;
}

async function watch() {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch("/api/state/stream", { headers, cache: "no-store" });
  if (response.status === 401 || response.status === 403) {
    sessionStorage.removeItem(KEY);
    byId("login").hidden = false;
    byId("status").textContent = key ? "The server does not know this key." : "A key is needed: the one that clients of this server use.";
    return false;
  }
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  byId("login").hidden = true;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return true;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) if (event.startsWith("data: ")) show(JSON.parse(event.slice(6)));
  }
}

async function run() {
  for (;;) {
    try {
      if (!(await watch())) return;
      byId("status").textContent = "The server ended the stream, trying again …";
    } catch (error) {
      byId("status").textContent = `No connection (${error.message}), trying again …`;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId("key").value.trim());
  byId("key").value = "";
  run();
});
run();
