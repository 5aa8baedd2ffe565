// The fleet by version: what runs where, and what is done with a whole group.

import { act, confirmed, mayAct, say } from "/assets/actions.js";
import { el, setText, show } from "/assets/dom.js";
import { count, things, words } from "/assets/format.js";
import { onRights } from "/assets/session.js";
import { model as latest, subscribe } from "/assets/store.js";
import { LiveTable } from "/assets/table.js";

/** The group that is being reconnected, one worker at a time. */
let rolling;

function groupsOf(workers) {
  const groups = new Map();
  for (const worker of workers) {
    const version = worker.version || worker.host.worker_version || "unknown";
    const key = `${worker.plugin}/${version}`;
    if (!groups.has(key)) groups.set(key, { key, plugin: worker.plugin, version, workers: [] });
    groups.get(key).workers.push(worker);
  }
  return [...groups.values()];
}

const plain = (of) => (td) => (group) => setText(td, of(group));

function states({ workers }) {
  const counts = new Map();
  for (const { state } of workers) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, n]) => `${count(n)} ${words(state)}`).join(", ");
}

async function forAll(group, name, verb) {
  const targets = group.workers.filter((worker) => worker.draining === (name === "undrain"));
  if (!targets.length) return say(`Nothing to do: no worker of ${group.version} needs it.`);
  if (!(await confirmed(`${verb} ${things(targets.length, "worker")} of ${group.version}?`, targets.map(({ name: of }) => of).join(", "), verb))) return;
  let done = 0;
  for (const worker of targets) done += (await act(worker, name)) ? 1 : 0;
  say(`${verb}: ${count(done)} of ${things(targets.length, "worker")}.`, done < targets.length);
}

/** Resolves with the worker once it is as wanted, or with nothing when rolling is stopped. */
function until(key, wanted) {
  return new Promise((resolve) => {
    const stop = subscribe((model) => {
      const worker = model.workers.find((row) => row.key === key);
      if (rolling && !wanted(worker)) return;
      queueMicrotask(() => stop());
      resolve(rolling ? worker : undefined);
    });
  });
}

/** Drains, disconnects and takes back one worker after the other: there is always only one away. */
async function roll(group) {
  const detail = "One after the other is drained, disconnected when it is idle, and taken back when its agent has come again. Keep this page open.";
  if (!(await confirmed(`Reconnect ${things(group.workers.length, "worker")} of ${group.version}?`, detail, "Begin"))) return;
  rolling = group.key;
  let done = 0;
  for (const { key } of group.workers) {
    const worker = latest.workers.find((row) => row.key === key);
    if (!rolling || !worker) continue;
    if (!(await act(worker, "drain"))) break;
    say(`${worker.name}: waiting until it is idle (${done} of ${group.workers.length} done)`);
    const idle = await until(key, (row) => !row || row.inflight === 0);
    if (!idle || !(await act(idle, "disconnect"))) break;
    const back = await until(key, (row) => row && row.connected_at !== undefined && Date.parse(row.last_heartbeat) > Date.parse(idle.now));
    if (!back || !(await act(back, "undrain"))) break;
    done += 1;
  }
  rolling = undefined;
  say(`Reconnected ${done} of ${things(group.workers.length, "worker")}.`, done < group.workers.length);
}

function actions(td) {
  let group;
  const button = (text, onclick) => el("button", { type: "button", class: "small", text, onclick });
  const all = [
    button("Drain all", () => forAll(group, "drain", "Drain")),
    button("Undrain all", () => forAll(group, "undrain", "Undrain")),
    button("Reconnect one by one", () => roll(group)),
  ];
  const stop = button("Stop", () => (rolling = undefined));
  const none = el("span", { class: "quiet", text: "needs an admin key" });
  td.append(el("span", { class: "buttons" }, ...all, stop, none));
  return (row) => {
    group = row;
    all.forEach((node) => show(node, mayAct() && !rolling));
    show(stop, rolling === row.key);
    show(none, !mayAct());
  };
}

const COLUMNS = [
  { title: "Version", value: (g) => g.version, cell: plain((g) => g.version) },
  { title: "Plugin", value: (g) => g.plugin, cell: plain((g) => g.plugin) },
  { title: "Workers", value: (g) => g.workers.length, first: "down", number: true, cell: plain((g) => count(g.workers.length)) },
  { title: "States", value: states, cell: plain(states) },
  { title: "Running", value: (g) => g.workers.reduce((sum, w) => sum + w.inflight, 0), first: "down", number: true, cell: plain((g) => count(g.workers.reduce((sum, w) => sum + w.inflight, 0))) },
  { title: "Actions", cell: actions },
];

class Fleet extends HTMLElement {
  connectedCallback() {
    this.table = new LiveTable({ caption: "Fleet by version", columns: COLUMNS, sort: 0, empty: "No worker is connected." });
    this.replaceChildren(el("h2", { text: "Fleet by version" }), this.table.node);
    const update = () => latest && this.table.update(groupsOf(latest.workers));
    this.stop = subscribe(update);
    this.stopRights = onRights(update);
  }

  disconnectedCallback() {
    this.stop?.();
    this.stopRights?.();
  }
}

customElements.define("nfrx-fleet", Fleet);
