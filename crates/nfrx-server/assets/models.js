// Models: who serves each, who waits, how fast it goes.

import { el, setText, sparkline } from "/assets/dom.js";
import { count, rate } from "/assets/format.js";
import { subscribe } from "/assets/store.js";
import { LiveTable } from "/assets/table.js";
import { showModel } from "/assets/workers.js";

function number(key) {
  return (td) => (model) => setText(td, count(model[key] ?? 0));
}

function servedBy(td) {
  let name = "";
  const button = el("button", { type: "button", class: "link", onclick: () => showModel(name) });
  td.append(button);
  return (model) => {
    ({ name } = model);
    const names = model.serving.slice(0, 3).map((worker) => worker.name);
    const more = model.workers - names.length;
    setText(button, names.join(", ") + (more > 0 ? ` +${more}` : ""));
  };
}

function requests(td) {
  const text = el("span");
  const spark = sparkline();
  td.append(text, spark.node);
  return (model) => {
    setText(text, rate(model.perMinute));
    spark.update(model.history);
  };
}

function nameAndPlugin(td) {
  const strong = el("strong", { class: "name" });
  const sub = el("span", { class: "sub" });
  td.append(strong, sub);
  return (model) => {
    setText(strong, model.name);
    setText(sub, model.plugin);
  };
}

const COLUMNS = [
  { title: "Model", value: (m) => m.name, cell: nameAndPlugin },
  { title: "Served by", value: (m) => m.workers, first: "down", cell: servedBy },
  { title: "Running", value: (m) => m.inflight, first: "down", number: true, cell: number("inflight") },
  { title: "Waiting", value: (m) => m.waiting, first: "down", number: true, cell: number("waiting") },
  { title: "Requests / min", value: (m) => m.perMinute, first: "down", number: true, cell: requests },
  { title: "Requests", value: (m) => m.requests_total, first: "down", number: true, cell: number("requests_total") },
  { title: "Tokens written", value: (m) => m.output_tokens_total, first: "down", number: true, cell: number("output_tokens_total") },
];

class Models extends HTMLElement {
  connectedCallback() {
    this.table = new LiveTable({ caption: "Models", columns: COLUMNS, sort: 0, empty: "No connected worker offers a model." });
    this.replaceChildren(el("h2", { class: "unseen", text: "Models" }), this.table.node);
    this.stop = subscribe(({ models }) => this.table.update(models));
  }

  disconnectedCallback() {
    this.stop?.();
  }
}

customElements.define("nfrx-models", Models);
