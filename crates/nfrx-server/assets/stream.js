// The stream of the state: kept open, opened again with growing pauses, and watched for
// silence.

import { publish } from "/assets/store.js";

const PAUSE_MIN_MS = 1_000;
const PAUSE_MAX_MS = 15_000;
/** The server says something every 2 s; what is older is shown as old. */
export const OLD_MS = 6_000;
/** A connection that says nothing for so long is dead, though nobody closed it. */
const DEAD_MS = 20_000;

/** When the last envelope came. */
export let lastAt;

/**
 * Watches until the server wants a key. Calls `tell(state, text)` as things change; gives
 * back control with a 401 or 403.
 */
export async function watch(tell) {
  let pause = PAUSE_MIN_MS;
  for (;;) {
    try {
      const refused = await follow(() => {
        pause = PAUSE_MIN_MS;
        tell("live", "live");
      });
      if (refused) return;
      tell("broken", "The server ended the stream, trying again …");
    } catch (error) {
      tell("broken", `No connection (${error.message}), trying again …`);
    }
    // Not all pages at the same moment, once a server is back.
    await new Promise((resolve) => setTimeout(resolve, pause * (0.75 + Math.random() / 2)));
    pause = Math.min(PAUSE_MAX_MS, pause * 2);
  }
}

async function follow(heard) {
  const ends = new AbortController();
  let timer = setTimeout(() => ends.abort(), DEAD_MS);
  try {
    const response = await fetch("/api/state/stream", { cache: "no-store", signal: ends.signal });
    if (response.status === 401 || response.status === 403) return true;
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return false;
      clearTimeout(timer);
      timer = setTimeout(() => ends.abort(), DEAD_MS);
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      // Who reads slowly wants the newest only.
      const last = events.filter((event) => event.startsWith("data: ")).pop();
      if (last === undefined) continue;
      publish(JSON.parse(last.slice(6)));
      lastAt = performance.now();
      heard();
    }
  } finally {
    clearTimeout(timer);
    ends.abort();
  }
}
