// Parts of the state that this page knows nothing about: shown as they are.

import { el, KeyedList, setText } from "/assets/dom.js";
import { subscribe } from "/assets/store.js";

class Others extends HTMLElement {
  connectedCallback() {
    const list = el("div");
    this.list = new KeyedList(list, ([id]) => id, ([id]) => {
      const text = el("pre", { tabindex: "0", "aria-label": `State of ${id}` });
      return { node: el("section", {}, el("h3", { text: id }), text), update: ([, part]) => setText(text, JSON.stringify(part, null, 2)) };
    });
    this.replaceChildren(el("h2", { text: "Other plugins" }), list);
    this.stop = subscribe(({ others }) => this.list.update(others));
  }

  disconnectedCallback() {
    this.stop?.();
  }
}

customElements.define("nfrx-others", Others);
