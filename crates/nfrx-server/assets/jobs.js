// Jobs: how many wait and for how long, who claims them, what became of the last ones.

import { askAndCancel, mayAct } from "/assets/actions.js";
import { el, setAttr, setText, show } from "/assets/dom.js";
import { count, since, span, words } from "/assets/format.js";
import { onRights } from "/assets/session.js";
import { model as latest, subscribe } from "/assets/store.js";
import { LiveTable } from "/assets/table.js";

const plain = (of) => (td) => (row) => setText(td, of(row));
const ago = (time) => (time ? `${span(since(time, new Date().toISOString()))} ago` : "–");
const TONE = { queued: "connected", failed: "stale", canceled: "not_ready", completed: "idle" };

function status(td) {
  const word = el("span");
  const node = el("span", { class: "status" }, el("span", { class: "dot", "aria-hidden": "true" }), word);
  td.append(node);
  return (job) => {
    setAttr(node, "data-state", TONE[job.status] ?? "working");
    setText(word, words(job.status) + (job.queue_position ? ` #${job.queue_position}` : ""));
  };
}

const ENDED = new Set(["completed", "failed", "canceled"]);

function actions(td) {
  let job;
  const button = el("button", { type: "button", class: "small", text: "Give up", onclick: () => askAndCancel(job) });
  td.append(button);
  return (row) => {
    job = row;
    setAttr(button, "aria-label", `Give up ${row.id}`);
    show(button, mayAct() && !ENDED.has(row.status));
  };
}

const JOBS = [
  { title: "Job", value: (j) => j.id, cell: plain((j) => j.id) },
  { title: "Type", value: (j) => j.type ?? "", cell: plain((j) => j.type ?? "") },
  { title: "Status", value: (j) => j.status, cell: status },
  { title: "Claimed by", value: (j) => j.claimed_worker_id ?? "", cell: plain((j) => j.claimed_worker_id || j.claimed_worker_group || "–") },
  { title: "Updated", value: (j) => j.updated_at, first: "down", cell: plain((j) => ago(j.updated_at)) },
  { title: "Actions", cell: actions },
];

const CLAIMERS = [
  { title: "Worker", value: (w) => w.worker_id ?? "", cell: plain((w) => w.worker_id || "(group only)") },
  { title: "Group", value: (w) => w.worker_group ?? "", cell: plain((w) => w.worker_group || "–") },
  { title: "Seen", value: (w) => w.last_seen_at, first: "down", cell: plain((w) => `${w.active ? "active" : "recent"}, ${ago(w.last_seen_at)}`) },
  { title: "Types", value: (w) => (w.types ?? []).join(", "), cell: plain((w) => (w.types ?? []).join(", ") || "–") },
  { title: "Last job", value: (w) => w.last_job_id ?? "", cell: plain((w) => w.last_job_id || "–") },
];

const FACTS = [
  ["Queued", (s) => count(s.queued_jobs ?? 0)],
  ["Oldest queued", (s) => (s.queued_jobs ? span((s.oldest_queued_seconds ?? 0) * 1000) : "–")],
  ["Running", (s) => count((s.claimed_jobs ?? 0) + (s.running_jobs ?? 0))],
  ["Awaiting transfer", (s) => count(s.awaiting_transfers ?? 0)],
  ["Completed", (s) => count(s.completed_jobs ?? 0)],
  ["Failed", (s) => count(s.failed_jobs ?? 0)],
  ["Canceled", (s) => count(s.canceled_jobs ?? 0)],
  ["Mean wait", (s) => span(s.avg_queue_wait_ms)],
  ["Mean, end to end", (s) => span(s.avg_end_to_end_ms)],
];

class Jobs extends HTMLElement {
  connectedCallback() {
    this.facts = FACTS.map(([title, of]) => {
      const dd = el("dd");
      return { node: el("div", { class: "total" }, el("dt", { text: title }), dd), update: (summary) => setText(dd, of(summary)) };
    });
    this.jobs = new LiveTable({ caption: "Recent jobs", columns: JOBS, sort: 4, key: (job) => job.id, empty: "No job yet." });
    this.claimers = new LiveTable({ caption: "Workers that claim jobs", columns: CLAIMERS, sort: 2, key: (worker) => worker.key, empty: "Nobody has asked for a job lately." });
    this.replaceChildren(
      el("h2", { text: "Jobs" }),
      el("dl", { class: "totals" }, ...this.facts.map(({ node }) => node)),
      el("h3", { text: "Recent jobs" }), this.jobs.node,
      el("h3", { text: "Workers that claim them" }), this.claimers.node,
    );
    this.stop = subscribe(({ jobs }) => this.update(jobs));
    this.stopRights = onRights(() => latest && this.update(latest.jobs));
  }

  disconnectedCallback() {
    this.stop?.();
    this.stopRights?.();
  }

  update(jobs) {
    this.facts.forEach(({ update }) => update(jobs?.summary ?? {}));
    this.jobs.update(jobs?.jobs ?? []);
    this.claimers.update(jobs?.workers ?? []);
  }
}

customElements.define("nfrx-jobs", Jobs);
