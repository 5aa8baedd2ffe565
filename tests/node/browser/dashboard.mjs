// The dashboard in a real browser. Started by the tests of the binary with: the nfrx binary,
// the browser, and a folder for pictures.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Agent } from "./agents.mjs";
import { Chromium } from "./chromium.mjs";

const [nfrx, chromium, pictures] = process.argv.slice(2);
const DESKTOP = [1440, 900];
const PHONE = [390, 844];
const HOSTILE = "<img src=x onerror=alert(1)>";
/** Generous: what is asserted is the state, the figure is printed. */
const UPDATE_MS_AIM = 50;

const step = (text) => console.log(text);

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function startServer() {
  const port = await freePort();
  const env = { API_KEY: "alpha", ADMIN_KEY: "root", LISTEN_ADDR: `127.0.0.1:${port}`, PLUGINS: "llm,asr,docling,mcp", XDG_STATE_HOME: join(pictures, "state") };
  const child = spawn(nfrx, ["server"], { env, stdio: ["ignore", "pipe", "pipe"] });
  await new Promise((resolve, reject) => {
    let said = "";
    const hear = (bytes) => {
      said += bytes;
      if (said.includes("ready")) resolve();
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.on("exit", () => reject(new Error(`the server ended:\n${said}`)));
  });
  return { child, origin: `http://127.0.0.1:${port}` };
}

/** A request of a client, left to itself. */
function ask(origin, model) {
  const body = JSON.stringify({ model, stream: true, messages: [{ role: "user", content: "hello" }] });
  return fetch(`${origin}/v1/chat/completions`, { method: "POST", headers: { Authorization: "Bearer alpha", "Content-Type": "application/json" }, body }).then((answer) => answer.text());
}

const cell = (name, title) => {
  const row = [...document.querySelectorAll("nfrx-workers tbody tr")].find((tr) => tr.querySelector(".name").textContent === name);
  return row?.querySelector(`[data-label="${title}"]`)?.innerText;
};
const names = () => [...document.querySelectorAll("nfrx-workers tbody .name")].map((node) => node.textContent);
const press = (selector, text) => {
  const found = [...document.querySelectorAll(selector)].find((node) => !node.hidden && (node.ariaLabel ?? node.textContent) === text);
  found?.click();
  return Boolean(found);
};
const typeKey = (key) => {
  document.getElementById("key").value = key;
  document.querySelector("nfrx-login form").requestSubmit();
};
const hasText = (text) => document.body.innerText.includes(text);

/** A row as the test sees it, for waiting. */
const shows = (page, name, title, wanted) => page.until(`${title} of ${name} is ${wanted}`, `(name, title, wanted) => (${cell})(name, title)?.includes(wanted)`, name, title, wanted);

async function signsIn(page) {
  await page.until("a form that asks for a key", () => document.querySelector("nfrx-login form")?.checkVisibility());
  assert.equal(await page.run(() => document.querySelectorAll("tbody tr").length), 0, "nothing is shown before");
  await page.picture(join(pictures, "login.png"));
  await page.run(typeKey, "wrong");
  await page.until("the key is refused", hasText, "The server does not know this key.");
  await page.run(typeKey, "root");
  await page.until("the stream", () => document.getElementById("connection").dataset.state === "live");
  assert.deepEqual(await page.run(() => [document.cookie, localStorage.length, sessionStorage.length]), ["", 0, 0], "no script sees the key");
  // What the browser itself logs of the refused key is no error of the page.
  page.errors = page.errors.filter((error) => !error.includes("401"));
  step("signs in");
}

async function aWorkersLife(page, origin) {
  await page.until("a sentence for no worker", hasText, "No worker is connected.");
  const den = await Agent.join(origin, { id: "den", models: ["phi", "qwen"], slots: 2 });
  await shows(page, "den", "Status", "idle");
  await shows(page, "den", "Slots", "0 / 2");
  await shows(page, "den", "Host", "38 %");
  step("a worker appears");
  const answers = [ask(origin, "phi"), ask(origin, "phi"), ask(origin, "phi")];
  await shows(page, "den", "Status", "working");
  await shows(page, "den", "Slots", "2 / 2");
  await page.until("one waits", () => [...document.querySelectorAll("nfrx-totals dd")].some((dd) => dd.innerText.startsWith("1") && dd.innerText.includes("room for")));
  for (let nth = 0; nth < 3; nth += 1) {
    while (!den.asked.length) await page.run(() => new Promise((next) => requestAnimationFrame(() => next())));
    den.answer(40);
  }
  assert.ok((await Promise.all(answers)).every((answer) => answer.includes("[DONE]")));
  await shows(page, "den", "Done", "3");
  await shows(page, "den", "First token p50 / p95", "ms");
  step("it works");
  return den;
}

async function textStaysText(page, origin) {
  const hostile = await Agent.join(origin, { id: "hostile", name: HOSTILE, models: [HOSTILE], facts: { hostname: HOSTILE, backend_version: HOSTILE } });
  await page.until("the name as text", `() => (${names})().includes(${JSON.stringify(HOSTILE)})`);
  assert.equal(await page.run(() => document.querySelectorAll("img, main script").length), 0);
  for (const view of ["models", "fleet", "workers"]) {
    await page.run((hash) => (location.hash = hash), view);
    await page.until(view, hasText, view === "fleet" ? "v1.0.0" : HOSTILE);
    assert.equal(await page.run(() => document.querySelectorAll("img, main script").length), 0, view);
  }
  step("hostile names are text");
  return hostile;
}

async function sortsAndFilters(page, origin) {
  const agents = [];
  for (const [id, slots] of [["attic", 8], ["Cellar", 1], ["barn-10", 2], ["barn-9", 2]]) {
    agents.push(await Agent.join(origin, { id, slots, models: ["phi"], version: id === "attic" ? "v0.9.0" : "v1.0.0" }));
  }
  const order = `() => (${names})().filter((name) => !name.includes("<")).join(" ")`;
  await page.until("all by name", `() => (${order})() === "attic barn-9 barn-10 Cellar den"`);
  assert.ok(await page.run(press, "th button", "Worker"));
  await page.until("turned around", `() => (${order})() === "den Cellar barn-10 barn-9 attic"`);
  assert.equal(await page.run(() => document.querySelector("th[aria-sort]").ariaSort), "descending");
  await page.run(press, "th button", "Worker");
  const filter = (text) => {
    const input = document.querySelector("nfrx-workers input");
    input.value = text;
    input.dispatchEvent(new Event("input"));
  };
  await page.run(filter, "BARN");
  await page.until("the barns", `() => (${names})().join(" ") === "barn-9 barn-10"`);
  await page.run(filter, "");
  step("sorts and filters");
  return agents;
}

async function drains(page) {
  await page.until("buttons", () => [...document.querySelectorAll("button")].some((node) => node.ariaLabel === "Drain den" && !node.hidden));
  await page.run(press, "button", "Drain den");
  await page.until("a question", () => document.querySelector("dialog[open]"));
  await page.picture(join(pictures, "confirm.png"));
  await page.run(press, "dialog button", "Cancel");
  await page.until("no question", () => !document.querySelector("dialog[open]"));
  await shows(page, "den", "Status", "idle");
  await page.run(press, "button", "Drain den");
  await page.until("a question", () => document.querySelector("dialog[open]"));
  await page.run(press, "dialog button", "Drain");
  await shows(page, "den", "Status", "draining");
  await page.until("it says so", hasText, "den is draining.");
  await page.run(press, "button", "Undrain den");
  await page.until("a question", () => document.querySelector("dialog[open]"));
  await page.run(press, "dialog button", "Undrain");
  await shows(page, "den", "Status", "idle");
  step("drains and undrains, after a question");
}

/** What a client or a worker of jobs asks; both hold the same key here. */
async function askJobs(origin, path, body) {
  const headers = { Authorization: "Bearer alpha", "Content-Type": "application/json" };
  const answer = await fetch(`${origin}/api/jobs${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

async function jobsAreGivenUp(page, origin) {
  await page.run(() => (location.hash = "jobs"));
  await page.until("a sentence for no job", hasText, "No job yet.");
  const held = await askJobs(origin, "", { type: "press", metadata: { secret: "of the client" } });
  await askJobs(origin, "/claim", { types: ["press"], worker_id: HOSTILE, max_wait_seconds: 10 });
  const waits = await askJobs(origin, "", { type: HOSTILE });
  const status = (id) => [...document.querySelectorAll("nfrx-jobs tbody tr")].find((tr) => tr.innerText.includes(id))?.querySelector('[data-label="Status"]').innerText;
  const has = (id, wanted) => page.until(`${id} is ${wanted}`, `(id, wanted) => (${status})(id)?.includes(wanted)`, id, wanted);
  await has(held.id ?? held.job_id, "claimed");
  await has(waits.id ?? waits.job_id, "queued");
  await page.until("the worker", hasText, HOSTILE);
  assert.equal(await page.run(() => document.querySelectorAll("img, main script").length), 0);
  assert.ok(!(await page.run(hasText, "of the client")), "nobody's data is shown");
  await page.picture(join(pictures, "jobs-desktop-light.png"));
  for (const { id, job_id } of [held, waits]) {
    await page.run(press, "button", `Give up ${id ?? job_id}`);
    await page.until("a question", () => document.querySelector("dialog[open]"));
    await page.run(press, "dialog button", "Give up");
    await has(id ?? job_id, "canceled");
    await page.until("no button", `(label) => ![...document.querySelectorAll("button")].some((node) => node.ariaLabel === label && !node.hidden)`, `Give up ${id ?? job_id}`);
  }
  step("jobs are seen and given up");
}

/** A server that the agent starts: its tools, what it complains of, and a call that runs. */
async function anMcpServerHasAPage(page, origin) {
  await page.run(() => (location.hash = "mcp"));
  await page.until("a sentence for no server", hasText, "No MCP server is connected.");
  const script = fileURLToPath(new URL("mcp_server.mjs", import.meta.url));
  const env = { SERVER_URL: `${origin.replace("http", "ws")}/api/mcp/connect`, CLIENT_ID: "shed", MCP_STDIO_COMMAND: `${process.execPath} ${script}`, XDG_STATE_HOME: join(pictures, "state") };
  const agent = spawn(nfrx, ["mcp"], { env, stdio: "ignore" });
  try {
    await page.until("the server", () => [...document.querySelectorAll("nfrx-mcp tbody tr")].some((tr) => tr.innerText.includes("shed") && tr.innerText.includes("idle")));
    await page.run(() => document.querySelector("nfrx-mcp tbody a").click());
    for (const text of ["At the agent shed", "shed 7 · MCP 2025-11-25 · 2 tools", "look (reads only)", HOSTILE, `the roof leaks ${HOSTILE}`, "No call is running."]) await page.until(text, hasText, text);
    assert.equal(await page.run(() => document.querySelectorAll("img, main script").length), 0);
    const headers = { Authorization: "Bearer alpha", "Content-Type": "application/json", Accept: "application/json, text/event-stream" };
    const post = (message, more) => fetch(`${origin}/api/mcp/id/shed`, { method: "POST", headers: { ...headers, ...more }, body: JSON.stringify({ jsonrpc: "2.0", id: 1, ...message }), signal: leaves.signal });
    const leaves = new AbortController();
    const opened = await post({ method: "initialize", params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "0" } } });
    const call = post({ method: "tools/call", params: { name: "look" } }, { "Mcp-Session-Id": opened.headers.get("mcp-session-id") }).then((answer) => answer.text());
    await page.until("the call", () => document.querySelector("nfrx-mcp-server tbody")?.innerText.includes("tools/call"));
    await page.picture(join(pictures, "mcp-server-desktop-light.png"));
    await page.resize(...PHONE);
    await page.picture(join(pictures, "mcp-server-phone-light.png"));
    assert.deepEqual(await page.run(overflow), [], "the page of a server on a phone");
    await page.resize(...DESKTOP);
    leaves.abort();
    await assert.rejects(call);
    await page.until("no call", hasText, "No call is running.");
  } finally {
    agent.kill("SIGTERM");
  }
  await page.until("it is gone", hasText, "Not connected now.");
  await page.run(press, "nfrx-mcp-server button", "Ask again");
  await page.until("it is said", hasText, "No agent offers this server now.");
  // What the browser itself logs of that answer is no error of the page.
  page.errors = page.errors.filter((error) => !error.includes("404"));
  step("an MCP server has a page");
}

async function aWholeGroupIsDrained(page, origin) {
  await page.run(() => (location.hash = "fleet"));
  await page.until("the group", hasText, "v0.9.0");
  const annex = await Agent.join(origin, { id: "annex", models: ["phi"], version: "v0.9.0" });
  const group = () => [...document.querySelectorAll("nfrx-fleet tbody tr")].find((tr) => tr.innerText.includes("v0.9.0"));
  const shows = (text) => page.until(text, `(text) => (${group})()?.innerText.includes(text)`, text);
  const all = async (text, verb) => {
    await page.run(`(text) => [...(${group})().querySelectorAll("button")].find((node) => node.textContent === text).click()`, text);
    await page.until("a question that names both", () => /annex/.test(document.querySelector("dialog[open]")?.innerText) && /attic/.test(document.querySelector("dialog[open]").innerText));
    await page.run(press, "dialog button", verb);
  };
  await shows("2 idle");
  await all("Drain all", "Drain");
  await shows("2 draining");
  await all("Undrain all", "Undrain");
  await shows("2 idle");
  annex.leave();
  step("drains a whole group");
}

/** An agent in a process of its own, which can be stopped: a mere silence is no stall, since the
 * system still answers pings. */
async function joinElsewhere(page, origin, id) {
  const agents = new URL("agents.mjs", import.meta.url).href;
  const code = `const { Agent } = await import(${JSON.stringify(agents)}); await Agent.join(${JSON.stringify(origin)}, { id: ${JSON.stringify(id)} });`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", code], { stdio: "ignore" });
  await shows(page, id, "Status", "idle");
  return child;
}

async function stallsAndGoes(page, origin, gone) {
  const shed = await joinElsewhere(page, origin, "shed");
  shed.kill("SIGSTOP");
  gone.leave();
  await page.until("it goes", `() => !(${names})().includes("Cellar")`);
  step("a worker goes");
  await shows(page, "shed", "Status", "stale");
  await shows(page, "shed", "Status", "silent for");
  await page.picture(join(pictures, "stale.png"));
  shed.kill("SIGKILL");
  await page.until("it goes", `() => !(${names})().includes("shed")`);
  step("a worker stalls");
}

/** No heading, cell or button may lie outside of the screen, without a way to get there. */
const overflow = () => {
  const wide = [...document.querySelectorAll("body *")].filter((node) => {
    const { right, width } = node.getBoundingClientRect();
    const scrolls = node.closest(".scroll, pre, nav");
    return width > 0 && right > innerWidth + 1 && !(scrolls && scrolls.scrollWidth > scrolls.clientWidth);
  });
  return wide.filter((node) => !node.closest(".unseen, thead")).map((node) => `${node.tagName} ${node.className} ${node.textContent.slice(0, 40)}`).slice(0, 5);
};

async function fitsEveryScreen(page) {
  for (const [device, size] of [["desktop", DESKTOP], ["phone", PHONE]]) {
    await page.resize(...size);
    for (const theme of ["light", "dark"]) {
      await page.theme(theme);
      for (const view of ["workers", "models", "fleet", "mcp", "jobs", "options"]) {
        await page.run((hash) => (location.hash = hash), view);
        await page.until(view, (of) => document.querySelector(`nfrx-${of} h2`), view);
        if (view === "options") await page.until("options", hasText, "listen_addr");
        await page.picture(join(pictures, `${view}-${device}-${theme}.png`));
        assert.deepEqual(await page.run(overflow), [], `${view} on a ${device}`);
      }
    }
  }
  await page.theme("light");
  await page.resize(...DESKTOP);
  step("fits a desktop and a phone, light and dark");
}

/** Every control has a name that is read out, and can be reached. */
async function isAccessible(page) {
  await page.run(() => (location.hash = "workers"));
  await page.until("workers", () => document.querySelector("nfrx-workers tbody tr"));
  const { nodes } = await page.send("Accessibility.getFullAXTree");
  const controls = nodes.filter((node) => !node.ignored && ["button", "link", "textbox", "searchbox", "combobox", "columnheader"].includes(node.role?.value));
  const nameless = controls.filter((node) => !node.name?.value?.trim());
  assert.ok(controls.length > 20, "there are controls");
  assert.deepEqual(nameless.map((node) => node.role.value), [], "controls without a name");
  assert.deepEqual(await page.run(() => [...document.querySelectorAll("[tabindex]")].filter((node) => node.tabIndex > 0).length), 0);
  step("controls have names");
}

async function updatesInTime(page, origin) {
  const agents = [];
  for (let nth = 0; nth < 500; nth += 1) agents.push(await Agent.join(origin, { id: `many-${nth}`, models: ["phi", "qwen"] }));
  await page.until("500 workers", `() => (${names})().length >= 500`);
  await page.picture(join(pictures, "many.png"));
  const times = await page.run(async () => {
    const { publish } = await import("/assets/store.js");
    const state = await (await fetch("/api/state")).json();
    const taken = [];
    for (let round = 1; round <= 15; round += 1) {
      // Every worker has news each time.
      state.plugins.llm.server.now = new Date(Date.parse(state.plugins.llm.server.now) + 1000).toISOString();
      for (const worker of state.plugins.llm.workers) {
        worker.inflight = round % 3;
        worker.status = worker.inflight ? "working" : "idle";
        worker.output_tokens_live_total += 20 + round;
        worker.processed_total += 1;
        worker.host_cpu_percent = (round * 7) % 100;
      }
      const begun = performance.now();
      publish(state);
      document.body.getBoundingClientRect();
      taken.push(performance.now() - begun);
      await new Promise((next) => requestAnimationFrame(() => next()));
    }
    return taken.sort((a, b) => a - b);
  });
  const median = times[Math.floor(times.length / 2)];
  step(`an update of 500 workers takes ${median.toFixed(1)} ms (aim: ${UPDATE_MS_AIM} ms), layout included; worst ${times.at(-1).toFixed(1)} ms`);
  assert.ok(await page.run(() => document.querySelectorAll("nfrx-workers tbody tr").length >= 500));
  agents.forEach((agent) => agent.leave());
  await page.until("they are gone", `() => (${names})().length < 100`);
}

async function signsOut(page) {
  await page.run(() => document.getElementById("sign-out").click());
  await page.until("the form again", () => document.querySelector("nfrx-login form")?.checkVisibility() && !document.querySelector("tbody tr"));
  page.errors = page.errors.filter((error) => !error.includes("401"));
  step("signs out");
}

await rm(join(pictures, "state"), { recursive: true, force: true });
await mkdir(pictures, { recursive: true });
const { child, origin } = await startServer();
const browser = await Chromium.start(chromium);
try {
  const page = await browser.open(`${origin}/state`, ...DESKTOP);
  await signsIn(page);
  await aWorkersLife(page, origin);
  await textStaysText(page, origin);
  const [, cellar] = await sortsAndFilters(page, origin);
  await drains(page);
  await jobsAreGivenUp(page, origin);
  await anMcpServerHasAPage(page, origin);
  await aWholeGroupIsDrained(page, origin);
  await fitsEveryScreen(page);
  await isAccessible(page);
  await page.run(() => (location.hash = "workers"));
  await stallsAndGoes(page, origin, cellar);
  await updatesInTime(page, origin);
  await signsOut(page);
  assert.deepEqual(page.errors, [], "errors in the browser's console");
  assert.deepEqual(page.requests.filter((url) => !url.startsWith(origin) && url !== "about:blank"), [], "another host was asked");
  step("no error, and no other host was asked");
} finally {
  await browser.stop();
  child.removeAllListeners("exit");
  child.kill("SIGKILL");
}
process.exit(0);
