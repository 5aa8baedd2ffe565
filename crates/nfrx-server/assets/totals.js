// The line of totals above every view.

import { el, setText, show, sparkline } from "/assets/dom.js";
import { count, rate, things } from "/assets/format.js";
import { subscribe } from "/assets/store.js";

class Totals extends HTMLElement {
  connectedCallback() {
    this.cells = {};
    const list = el("dl", { class: "totals" });
    for (const [id, title] of [["workers", "Workers"], ["slots", "Running"], ["waiting", "Waiting"], ["tokens", "Tokens / s"], ["done", "Requests done"], ["mcp", "MCP servers"], ["jobs", "Jobs"]]) {
      const value = el("span", { class: "total-value" });
      const note = el("span", { class: "total-note" });
      const cell = el("div", { class: "total" }, el("dt", { text: title }), el("dd", {}, value, note));
      this.cells[id] = { cell, value, note };
      list.append(cell);
    }
    this.spark = sparkline(120, 24);
    this.cells.tokens.note.replaceWith(this.spark.node);
    this.replaceChildren(list);
    this.stop = subscribe((model) => this.update(model));
  }

  disconnectedCallback() {
    this.stop?.();
  }

  set(id, value, note) {
    setText(this.cells[id].value, value);
    if (note !== undefined) setText(this.cells[id].note, note);
  }

  update({ workers, pools, tokenRate, mcp, jobs }) {
    const sum = (of) => pools.reduce((total, [, part]) => total + (of(part.server) ?? 0), 0);
    const states = (...wanted) => workers.filter((worker) => wanted.includes(worker.state)).length;
    const troubled = states("stale", "not_ready");
    this.set("workers", count(workers.length), troubled ? `${count(troubled)} not ready` : `${count(states("idle"))} idle`);
    const slots = workers.reduce((total, worker) => total + worker.max_concurrency, 0);
    this.set("slots", count(workers.reduce((total, worker) => total + worker.inflight, 0)), `of ${things(slots, "slot")}`);
    this.set("waiting", count(sum((server) => server.scheduler_queue_len)), `room for ${count(sum((server) => server.scheduler_queue_capacity))}`);
    this.set("tokens", rate(tokenRate.value));
    this.spark.update(tokenRate.history);
    this.set("done", count(sum((server) => server.jobs_completed_total)), `${count(sum((server) => server.jobs_failed_total))} failed`);
    show(this.cells.mcp.cell, Boolean(mcp));
    if (mcp) this.set("mcp", count(mcp.servers.length), things(mcp.sessions.length, "call"));
    show(this.cells.jobs.cell, Boolean(jobs));
    if (jobs) this.set("jobs", count(jobs.summary.queued_jobs ?? 0), "queued");
  }
}

customElements.define("nfrx-totals", Totals);
