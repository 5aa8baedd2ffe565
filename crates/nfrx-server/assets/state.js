// The page's frame: navigation, connection, login.

import "/assets/fleet.js";
import "/assets/jobs.js";
import "/assets/mcp.js";
import "/assets/models.js";
import "/assets/options.js";
import "/assets/others.js";
import "/assets/totals.js";
import "/assets/workers.js";
import { say } from "/assets/actions.js";
import { el, KeyedList, setAttr, setText, show } from "/assets/dom.js";
import { span } from "/assets/format.js";
import { onRights, refresh, signOut } from "/assets/session.js";
import { subscribe } from "/assets/store.js";
import { lastAt, OLD_MS, watch } from "/assets/stream.js";

const byId = (id) => document.getElementById(id);
const login = document.querySelector("nfrx-login");

/** Views by the first part of the address behind `#`. */
const VIEWS = [
  { id: "workers", title: "Workers", tag: "nfrx-workers", there: () => true },
  { id: "models", title: "Models", tag: "nfrx-models", there: ({ pools }) => pools.length > 0 },
  { id: "mcp", title: "MCP", tag: "nfrx-mcp", there: ({ mcp }) => Boolean(mcp) },
  { id: "jobs", title: "Jobs", tag: "nfrx-jobs", there: ({ jobs }) => Boolean(jobs) },
  { id: "fleet", title: "Fleet", tag: "nfrx-fleet", there: ({ pools }) => pools.length > 0 },
  { id: "others", title: "Others", tag: "nfrx-others", there: ({ others }) => others.length > 0 },
  { id: "options", title: "Options", tag: "nfrx-options", there: () => true },
];

let started = false;
let watching = false;

function current() {
  const [id, of] = location.hash.slice(1).split("/");
  return { view: VIEWS.find((view) => view.id === id) ?? VIEWS[0], of: of && decodeURIComponent(of) };
}

function open() {
  if (!started) return;
  const { view, of } = current();
  const node = document.createElement(of && view.id === "mcp" ? "nfrx-mcp-server" : view.tag);
  if (of) node.server = of;
  byId("view").replaceChildren(node);
  document.title = `${view.title} · nfrx`;
  markCurrent();
}

const nav = new KeyedList(byId("nav"), (view) => view.id, (view) => {
  const node = el("a", { href: `#${view.id}`, text: view.title });
  return { node, update: () => {} };
});

function markCurrent() {
  const { view } = current();
  for (const anchor of byId("nav").children) {
    setAttr(anchor, "aria-current", anchor.getAttribute("href") === `#${view.id}` ? "page" : undefined);
  }
}

function tell(state, text) {
  setAttr(byId("connection"), "data-state", state);
  setText(byId("connection-text"), text);
}

/** How old what is shown is; told each second, also when nothing comes. */
function tellAge() {
  const age = lastAt === undefined ? undefined : performance.now() - lastAt;
  const old = age !== undefined && age > OLD_MS;
  setText(byId("age"), old ? `as of ${span(age)} ago` : "");
  document.body.classList.toggle("old", old);
}

async function run() {
  if (watching) return;
  watching = true;
  await watch(tell);
  watching = false;
  tell("waiting", "signed out");
  login.open("This server wants a key: the one that clients of its API use.", false);
}

subscribe((model) => {
  nav.update(VIEWS.filter((view) => view.there(model)));
  if (!started) {
    started = true;
    show(document.querySelector("nfrx-totals"), true);
    open();
  }
  markCurrent();
});

onRights((rights) => {
  show(byId("sign-out"), rights.signed_in);
  show(byId("sign-in"), rights.may_read && !rights.signed_in && !rights.may_act);
  if (rights.may_read) run();
});

async function start() {
  try {
    const rights = await refresh();
    if (!rights.may_read) run();
  } catch (error) {
    tell("broken", `No connection (${error.message}), trying again …`);
    setTimeout(start, 2000);
  }
}

byId("sign-in").addEventListener("click", () => login.open("Sign in with an admin key to drain and disconnect workers.", true));
byId("sign-out").addEventListener("click", async () => {
  try {
    await signOut();
    location.reload();
  } catch (error) {
    say(`Not signed out: no connection (${error.message})`, true);
  }
});
addEventListener("hashchange", open);
setInterval(tellAge, 1000);
start();
