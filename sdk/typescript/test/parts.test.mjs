/** The parts without I/O: events, delays, channels that are told twice. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Frames, LINE_MAX } from "../dist/sse.js";
import { Backoff } from "../dist/waiting.js";
import { readEvents } from "../dist/watch.js";

test("events are the same however their bytes are cut", () => {
  const stream = new TextEncoder().encode(': hello\r\nid: 7\r\nevent: status\r\ndata: {"ä":\r\ndata: 1}\r\n\r\n\nevent: x\n\ndata:y\n\n');
  for (let step = 1; step <= stream.length; step += 1) {
    const frames = new Frames();
    const found = [];
    for (let at = 0; at < stream.length; at += step) found.push(...frames.feed(stream.subarray(at, at + step)));
    assert.deepEqual(found, [
      { event: "status", data: '{"ä":\n1}', id: "7" },
      { event: "message", data: "y", id: "7" },
    ]);
  }
});

test("an event without an end is refused", () => {
  assert.throws(() => new Frames().feed(new Uint8Array(LINE_MAX + 1).fill(120)), RangeError);
});

test("delays double up to the longest and start again after success", () => {
  const backoff = new Backoff(1000, 4000, () => 0.5);
  assert.deepEqual([1, 2, 3, 4].map(() => backoff.delay()), [1000, 2000, 4000, 4000]);
  backoff.reset();
  assert.equal(backoff.delay(), 1000);
});

test("who comes late learns of waiting channels from the status, and only once", () => {
  const seen = new Set();
  const payloads = { payload: { channel_id: "c", url: "/api/transfer/c" } };
  const status = (view) => ({ event: "status", data: JSON.stringify({ id: "j", ...view }), id: null });
  const kinds = (frame) => readEvents(frame, seen).map(({ kind }) => kind);
  assert.deepEqual(kinds(status({ status: "running", payloads })), ["status"]);
  assert.deepEqual(kinds(status({ status: "awaiting_payload", payloads })), ["payload", "status"]);
  assert.deepEqual(kinds({ event: "payload", data: '{"channel_id":"c"}', id: null }), []);
  const done = { payload: { channel_id: "d", state: "done" } };
  assert.deepEqual(kinds(status({ status: "awaiting_payload", payloads: done })), ["status"]);
});
