// Who looks: signing in and out, and what may be done. The key itself is kept nowhere here;
// the browser holds a cookie that no script can read.

import { el } from "/assets/dom.js";

const PATH = "/api/state/session";
const listeners = new Set();
/** What the server lets this browser do. */
export let rights = { may_read: false, may_act: false, signed_in: false };

/** Calls `listener` whenever the rights may have changed, until what it gives is called. */
export function onRights(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Asks the server what this browser may do. */
export async function refresh() {
  const response = await fetch(PATH, { cache: "no-store" });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  rights = await response.json();
  for (const listener of listeners) listener(rights);
  return rights;
}

/** Shows the key to the server, once. Gives what went wrong, if anything did. */
async function signIn(key) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(PATH, { method: "POST", headers, body: JSON.stringify({ key }) });
  if (response.status === 401) return "The server does not know this key.";
  if (response.status === 429) return "Too many wrong keys from here. Wait a moment.";
  if (!response.ok) return `The server answered ${response.status}.`;
  await refresh();
  return undefined;
}

/** Ends the session. */
export async function signOut() {
  await fetch(PATH, { method: "DELETE" });
  await refresh();
}

class Login extends HTMLElement {
  connectedCallback() {
    this.key = el("input", { type: "password", name: "key", autocomplete: "off", required: true, id: "key" });
    this.problem = el("p", { class: "bad", role: "alert" });
    this.reason = el("p", { class: "quiet" });
    const cancel = el("button", { type: "button", class: "quiet-button", text: "Cancel", onclick: () => this.close() });
    this.cancel = cancel;
    const form = el(
      "form",
      { class: "login", onsubmit: (event) => this.submit(event) },
      el("h2", { text: "Sign in" }),
      this.reason,
      el("label", { for: "key", text: "Key" }),
      this.key,
      this.problem,
      el("div", { class: "buttons" }, el("button", { text: "Sign in" }), cancel),
    );
    this.replaceChildren(form);
  }

  /** Asks for a key; `optional` when there is something to see without one. */
  open(reason, optional) {
    this.reason.textContent = reason;
    this.cancel.hidden = !optional;
    if (!this.hidden) return;
    this.hidden = false;
    this.problem.textContent = "";
    this.key.focus();
  }

  close() {
    this.hidden = true;
    this.key.value = "";
  }

  async submit(event) {
    event.preventDefault();
    const problem = await signIn(this.key.value).catch((error) => `No connection (${error.message}).`);
    this.key.value = "";
    this.problem.textContent = problem ?? "";
    if (!problem) this.close();
  }
}

customElements.define("nfrx-login", Login);
