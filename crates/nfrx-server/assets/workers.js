// Workers: one line each, live, sortable, filterable.

import { ACTIONS, askAndAct, copy, mayAct } from "/assets/actions.js";
import { bar, el, setAttr, setText, show, sparkline } from "/assets/dom.js";
import { count, rate, since, span, things, words } from "/assets/format.js";
import { onRights } from "/assets/session.js";
import { subscribe } from "/assets/store.js";
import { LiveTable } from "/assets/table.js";

/** What the filters are set to; kept while the page is open. */
const filter = { text: "", state: "", model: "" };

/** Shows only the workers of this model from now on. */
export function showModel(name) {
  Object.assign(filter, { text: "", state: "", model: name });
  location.hash = "#workers";
}

const STATES = ["idle", "working", "draining", "not_ready", "connected", "stale"];

/** A dot and a word: colour alone says nothing. */
function status(td) {
  const word = el("span");
  const node = el("span", { class: "status" }, el("span", { class: "dot", "aria-hidden": "true" }), word);
  const note = el("span", { class: "sub whole", title: "how long it has been connected" });
  td.append(node, note);
  return (worker) => {
    setAttr(node, "data-state", worker.state);
    setText(word, words(worker.state));
    const silent = worker.state === "stale" ? `silent for ${span(worker.silent)}` : `for ${span(Math.floor(since(worker.connected_at, worker.now) / 1000) * 1000)}`;
    setText(note, silent);
  };
}

function name(td) {
  const strong = el("strong", { class: "name" });
  const sub = el("span", { class: "sub" });
  td.append(strong, sub);
  return (worker) => {
    setText(strong, worker.name || worker.id);
    setAttr(strong, "title", worker.id);
    setText(sub, [worker.plugin, worker.host.hostname].filter(Boolean).join(" · "));
  };
}

function models(td) {
  td.classList.add("models");
  return (worker) => {
    const more = (worker.models_total ?? worker.models.length) - 2;
    const text = worker.models.slice(0, 2).join(", ") + (more > 0 ? ` +${more}` : "");
    setText(td, text || "–");
    setAttr(td, "title", worker.models.join(", "));
  };
}

function slots(td) {
  const text = el("span");
  const sub = el("span", { class: "sub" });
  const used = bar();
  td.append(text, used.node, sub);
  return (worker) => {
    setText(text, `${worker.inflight} / ${worker.max_concurrency}`);
    used.update(worker.inflight / worker.max_concurrency);
    setText(sub, worker.queue_len ? `${count(worker.queue_len)} waiting` : "");
  };
}

function speed(td) {
  const text = el("span");
  const spark = sparkline();
  td.append(text, spark.node);
  return (worker) => {
    setText(text, rate(worker.rate));
    spark.update(worker.history);
  };
}

function firstToken(td) {
  return (worker) => {
    const known = worker.ttft_p50_ms !== undefined;
    setText(td, known ? `${span(worker.ttft_p50_ms)} / ${span(worker.ttft_p95_ms)}` : "–");
  };
}

function done(td) {
  const text = el("span");
  const failed = el("span", { class: "sub bad" });
  td.append(text, failed);
  return (worker) => {
    setText(text, count(worker.processed_total));
    const when = worker.last_error_at ? `, ${span(since(worker.last_error_at, worker.now))} ago` : "";
    const last = worker.last_error ? `: ${words(worker.last_error)}${when}` : "";
    setText(failed, worker.failures_total ? `${count(worker.failures_total)} failed${last}` : "");
  };
}

function load(td) {
  const rows = [["CPU", "host_cpu_percent"], ["RAM", "host_ram_used_percent"]].map(([title, key]) => {
    const used = bar();
    const text = el("span", { class: "load-number" });
    td.append(el("span", { class: "load" }, el("span", { class: "load-title", text: title }), used.node, text));
    return (worker) => {
      used.update((worker[key] ?? 0) / 100);
      setText(text, worker[key] === undefined ? "–" : `${Math.round(worker[key])} %`);
    };
  });
  return (worker) => rows.forEach((row) => row(worker));
}

function versions(td) {
  const agent = el("span");
  const sub = el("span", { class: "sub" });
  td.append(agent, sub);
  return (worker) => {
    setText(agent, worker.version || worker.host.worker_version || "unknown");
    const backend = [worker.host.backend_family, worker.host.backend_version].filter(Boolean).join(" ");
    const trip = worker.round_trip_ms === undefined ? "" : `${worker.carrier}, ${span(worker.round_trip_ms)}`;
    setText(sub, [backend, trip || worker.carrier].filter(Boolean).join(" · "));
  };
}

function actions(td) {
  let worker;
  const link = el("button", { type: "button", class: "small", text: "Copy link" });
  link.addEventListener("click", () => copy(link, `${location.origin}/api/${worker.plugin}/id/${encodeURIComponent(worker.id)}/v1`));
  const button = (action) => el("button", { type: "button", class: "small", text: ACTIONS[action].verb, onclick: () => askAndAct(worker, action) });
  const [drain, undrain, disconnect] = [button("drain"), button("undrain"), button("disconnect")];
  td.append(el("span", { class: "buttons" }, link, drain, undrain, disconnect));
  return (row) => {
    worker = row;
    const label = (verb, node) => setAttr(node, "aria-label", `${verb} ${row.name}`);
    label("Copy link of", link);
    label("Drain", drain);
    label("Undrain", undrain);
    label("Disconnect", disconnect);
    show(link, row.plugin === "llm");
    show(drain, mayAct() && !row.draining);
    show(undrain, mayAct() && row.draining);
    show(disconnect, mayAct());
  };
}

const COLUMNS = [
  { title: "Worker", value: (w) => w.name || w.id, cell: name },
  { title: "Status", value: (w) => w.state, cell: status },
  { title: "Models", value: (w) => w.models[0] ?? "", cell: models },
  { title: "Slots", value: (w) => w.inflight / (w.max_concurrency || 1) + w.queue_len, first: "down", number: true, cell: slots },
  { title: "Tokens / s", value: (w) => w.rate, first: "down", number: true, cell: speed },
  { title: "First token p50 / p95", value: (w) => w.ttft_p50_ms, first: "down", number: true, cell: firstToken },
  { title: "Done", value: (w) => w.processed_total, first: "down", number: true, cell: done },
  { title: "Host", value: (w) => w.host_cpu_percent, first: "down", cell: load },
  { title: "Version", value: (w) => w.version, cell: versions },
  { title: "Actions", cell: actions },
];

class Workers extends HTMLElement {
  connectedCallback() {
    this.table = new LiveTable({ caption: "Workers", columns: COLUMNS, sort: 0, empty: "" });
    this.found = el("p", { class: "found quiet", role: "status" });
    this.replaceChildren(el("h2", { class: "unseen", text: "Workers" }), this.filters(), this.table.node);
    this.stop = subscribe((model) => this.update(model));
    this.stopRights = onRights(() => this.update(this.model));
  }

  disconnectedCallback() {
    this.stop?.();
    this.stopRights?.();
  }

  filters() {
    const again = () => this.update(this.model);
    const text = el("input", { type: "search", placeholder: "Name, id or host", "aria-label": "Filter by name, id or host", oninput: () => { filter.text = text.value; again(); } });
    const state = el("select", { "aria-label": "Filter by status", onchange: () => { filter.state = state.value; again(); } }, el("option", { value: "", text: "Any status" }), ...STATES.map((value) => el("option", { value, text: words(value) })));
    this.modelSelect = el("select", { "aria-label": "Filter by model", onchange: () => { filter.model = this.modelSelect.value; again(); } });
    text.value = filter.text;
    state.value = filter.state;
    return el("div", { class: "filters" }, text, state, this.modelSelect, this.found);
  }

  /** Models come and go; the one that is chosen stays listed. */
  listModels(models) {
    const names = [...new Set([...models.map((model) => model.name), filter.model].filter(Boolean))].sort();
    const shown = names.join("\n");
    if (this.listed === shown) return;
    this.listed = shown;
    this.modelSelect.replaceChildren(el("option", { value: "", text: "Any model" }), ...names.map((name) => el("option", { value: name, text: name })));
    this.modelSelect.value = filter.model;
  }

  update(model) {
    if (!model) return;
    this.model = model;
    this.listModels(model.models);
    const wanted = filter.text.trim().toLowerCase();
    const matches = (worker) =>
      (!filter.state || worker.state === filter.state) &&
      (!filter.model || worker.models.includes(filter.model)) &&
      (!wanted || [worker.name, worker.id, worker.host.hostname].some((text) => String(text ?? "").toLowerCase().includes(wanted)));
    const rows = model.workers.filter(matches);
    setText(this.table.empty, model.workers.length ? "No worker fits the filters." : "No worker is connected. An agent connects with `nfrx llm`, for example.");
    setText(this.found, rows.length === model.workers.length ? things(rows.length, "worker") : `${count(rows.length)} of ${things(model.workers.length, "worker")}`);
    this.table.update(rows);
  }
}

customElements.define("nfrx-workers", Workers);
