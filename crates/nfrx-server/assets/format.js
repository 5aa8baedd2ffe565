// How numbers, spans and times are written. Everything here gives plain text.

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A count, with thousands apart; compact from a hundred thousand on. */
export function count(n) {
  return n >= 100_000 ? compact.format(n) : whole.format(n ?? 0);
}

/** A rate in units per second. */
export function rate(n) {
  if (!n) return "0";
  return n < 10 ? n.toFixed(1) : whole.format(Math.round(n));
}

/** A span given in milliseconds. */
export function span(ms) {
  if (ms === undefined || ms === null) return "–";
  if (ms === 0) return "0 s";
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 && ms % 1000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.floor(ms / 3_600_000)} h`;
  return `${Math.floor(ms / 86_400_000)} d`;
}

/** How long ago a time was, in milliseconds; both are RFC 3339. */
export function since(time, now) {
  return Math.max(0, Date.parse(now) - Date.parse(time));
}

/** `n things`, with the right plural. */
export function things(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** A status as people read it. */
export function words(status) {
  return String(status ?? "unknown").replaceAll("_", " ");
}
