// The state as the page sees it: the envelope that came last, flattened, with the rates
// that only two envelopes together tell.

/** How many values a history has; one a second. */
export const HISTORY = 60;
/** A worker that was silent for longer is shown as stale, in milliseconds. Agents are heard
 * every 5 s, and given up after 15. */
const STALE_MS = 8_000;

const listeners = new Set();
const rates = new Map();
let total;
/** What was published last. */
export let model;


/** Calls `listener` with each model from now on, and at once with the last. */
export function subscribe(listener) {
  listeners.add(listener);
  if (model) listener(model);
  return () => listeners.delete(listener);
}

/** Takes an envelope and tells everybody. */
export function publish(envelope) {
  performance.clearMeasures("nfrx-update");
  const begun = performance.now();
  model = modelOf(envelope.plugins ?? {});
  for (const listener of listeners) listener(model);
  performance.measure("nfrx-update", { start: begun });
}

function modelOf(plugins) {
  const pools = Object.entries(plugins).filter(([, part]) => Array.isArray(part?.workers) && part.server);
  const now = pools[0]?.[1].server.now ?? new Date().toISOString();
  const workers = pools.flatMap(([plugin, part]) => part.workers.map((worker) => workerOf(plugin, worker, part)));
  const models = pools.flatMap(([plugin, part]) => (part.models ?? []).map((item) => modelRow(plugin, item, part, workers)));
  forget(new Set([...workers, ...models].map((row) => row.key)));
  total = sumOf(total, workers, Date.parse(now) / 1000);
  return {
    now,
    pools,
    workers,
    models,
    tokenRate: total,
    mcp: mcpOf(plugins.mcp),
    jobs: plugins.jobs?.summary ? plugins.jobs : undefined,
    others: Object.entries(plugins).filter(([id, part]) => id !== "server" && !part?.workers && !part?.clients && !part?.summary),
    server: plugins.server ?? {},
  };
}

function workerOf(plugin, worker, part) {
  const key = `worker/${plugin}/${worker.id}`;
  const now = part.server.now;
  const silent = Date.parse(now) - Date.parse(worker.last_heartbeat);
  const stale = silent > STALE_MS;
  const live = worker.output_tokens_live_total ?? worker.output_tokens_total ?? 0;
  const rate = step(rates.get(key), live, Date.parse(now) / 1000, worker.connected_at);
  rates.set(key, rate);
  return {
    ...worker,
    key,
    plugin,
    now,
    live,
    silent,
    state: stale ? "stale" : worker.status,
    rate: rate.value,
    history: rate.history,
    models: worker.models ?? [],
    host: worker.host_info ?? {},
  };
}

function modelRow(plugin, item, part, workers) {
  const key = `model/${plugin}/${item.name}`;
  const rate = step(rates.get(key), item.requests_total ?? 0, Date.parse(part.server.now) / 1000, plugin);
  rates.set(key, rate);
  const serving = workers.filter((worker) => worker.plugin === plugin && worker.models.includes(item.name));
  const perMinute = (rate.history.reduce((sum, value) => sum + value, 0) / HISTORY) * 60;
  return { ...item, key, plugin, serving, perMinute, history: rate.history, tokens: serving.reduce((sum, worker) => sum + worker.rate, 0) };
}

/**
 * A counter's rate after it was seen once more. `born` tells counters apart that begin anew:
 * across such a change there is no rate.
 */
function step(before, counter, at, born) {
  if (!before || before.born !== born || counter < before.counter) {
    return { history: new Array(HISTORY).fill(0), value: 0, counter, at, born };
  }
  const passed = at - before.at;
  if (passed < 0.9) return before;
  const value = (counter - before.counter) / passed;
  return { history: longer(before.history, value, passed), value, counter, at, born };
}

/** The rate of all workers together, which come and go. */
function sumOf(before, workers, at) {
  const value = workers.reduce((sum, worker) => sum + worker.rate, 0);
  if (!before) return { history: new Array(HISTORY).fill(0), value, at };
  const passed = at - before.at;
  return passed < 0.9 ? { ...before, value } : { history: longer(before.history, value, passed), value, at };
}

/** A history to which so many seconds with this value were added. */
function longer(history, value, seconds) {
  const values = new Array(Math.min(HISTORY, Math.max(1, Math.round(seconds)))).fill(value);
  return [...history, ...values].slice(-HISTORY);
}

function forget(keys) {
  for (const key of rates.keys()) if (!keys.has(key)) rates.delete(key);
}

function mcpOf(part) {
  if (!part || !("clients" in part)) return undefined;
  const sessions = part.sessions ?? [];
  const servers = (part.clients ?? []).map((server, nth) => ({
    ...server,
    key: `${server.id}/${nth}`,
    calls: sessions.filter((session) => session.client_id === server.id),
  }));
  return { servers, sessions };
}
