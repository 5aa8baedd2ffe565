// What an operator may do, always after being asked again.

import { el } from "/assets/dom.js";
import { refresh, rights } from "/assets/session.js";

class Confirm extends HTMLElement {
  connectedCallback() {
    this.question = el("h2");
    this.detail = el("p");
    this.yes = el("button", { value: "yes" });
    const no = el("button", { value: "no", class: "quiet-button", text: "Cancel", autofocus: true });
    const form = el("form", { method: "dialog" }, this.question, this.detail, el("div", { class: "buttons" }, this.yes, no));
    this.dialog = el("dialog", {}, form);
    this.replaceChildren(this.dialog);
  }

  /** Whether the operator says yes. */
  ask(question, detail, verb) {
    this.question.textContent = question;
    this.detail.textContent = detail;
    this.yes.textContent = verb;
    this.dialog.returnValue = "";
    this.dialog.showModal();
    return new Promise((resolve) => {
      this.dialog.addEventListener("close", () => resolve(this.dialog.returnValue === "yes"), { once: true });
    });
  }
}

customElements.define("nfrx-confirm", Confirm);

/** Asks, with the page's one dialog. */
export function confirmed(question, detail, verb) {
  return document.querySelector("nfrx-confirm").ask(question, detail, verb);
}

let hiding;

/** Says something at the page's end for a few seconds. */
export function say(text, bad = false) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  toast.classList.toggle("bad-toast", bad);
  toast.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (toast.hidden = true), 5000);
}

/** What can be done with a worker, with its question. */
export const ACTIONS = {
  drain: { verb: "Drain", done: "is draining", detail: "It gets nothing new. What it has goes on." },
  undrain: { verb: "Undrain", done: "takes work again", detail: "It takes new requests again." },
  disconnect: { verb: "Disconnect", done: "is disconnected", detail: "Its connection is closed and what runs there fails. The agent comes back if it wants to." },
};

/** Does it, without asking. Gives whether it worked; says why when not. */
export function act(worker, name) {
  const path = `/api/${encodeURIComponent(worker.plugin)}/workers/${encodeURIComponent(worker.id)}/${name}`;
  return post(path, `${ACTIONS[name].verb} ${worker.name}`, "it is not connected any more");
}

/** Asks, and gives a job up. */
export async function askAndCancel(job) {
  const detail = "Whoever works at it is told to stop, and its client gets no result.";
  if (!(await confirmed(`Give up ${job.id}?`, detail, "Give up"))) return;
  const path = `/api/jobs/operator/${encodeURIComponent(job.id)}/cancel`;
  if (await post(path, `Give up ${job.id}`, "it is not there any more")) say(`${job.id} is given up.`);
}

async function post(path, what, gone) {
  try {
    const response = await fetch(path, { method: "POST" });
    if (response.ok) return true;
    if (response.status === 401 || response.status === 403) await refresh();
    say(`${what}: ${response.status === 404 ? gone : reason(response.status)}`, true);
  } catch (error) {
    say(`${what}: no connection (${error.message})`, true);
  }
  return false;
}

function reason(status) {
  if (status === 401) return "this needs an admin key: sign in with one";
  if (status === 403) return "this key may not do that";
  if (status === 409) return "it has ended by itself";
  return `the server answered ${status}`;
}

/** Asks, does it, and says how it went. */
export async function askAndAct(worker, name) {
  const { verb, detail, done } = ACTIONS[name];
  if (!(await confirmed(`${verb} ${worker.name}?`, detail, verb))) return;
  if (await act(worker, name)) say(`${worker.name} ${done}.`);
}

/** Whether buttons for actions make sense. */
export function mayAct() {
  return rights.may_act;
}

/** Puts a text into the clipboard, and says so on the button. */
export async function copy(button, text) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    // Without https or localhost there is no clipboard: show what to copy instead.
    await confirmed("Copy this address", text, "Done");
  }
  setTimeout(() => (button.textContent = before), 1100);
}
