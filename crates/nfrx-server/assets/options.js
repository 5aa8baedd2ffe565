// Options: how the server and its plugins are set. Secrets are masked by the server.

import { el } from "/assets/dom.js";

class Options extends HTMLElement {
  async connectedCallback() {
    this.replaceChildren(el("h2", { text: "Options" }), el("p", { class: "quiet", text: "loading …" }));
    try {
      const response = await fetch("/api/state/options", { cache: "no-store" });
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      const groups = await response.json();
      const intro = el("p", { class: "quiet", text: "As the server was started. A bold value is not the default. Secrets are masked." });
      this.replaceChildren(el("h2", { text: "Options" }), intro, ...groups.map(groupNode));
    } catch (error) {
      const again = el("button", { type: "button", text: "Try again", onclick: () => this.connectedCallback() });
      this.replaceChildren(el("h2", { text: "Options" }), el("p", { class: "bad", text: `Options could not be loaded: ${error.message}.` }), again);
    }
  }
}

function groupNode({ id, name, summary, args, options }) {
  const rows = args.map((arg) => {
    const value = options[arg.ID] ?? "";
    const changed = value !== arg.Default && value !== "";
    const shown = el(changed ? "strong" : "span", { text: value || "–" });
    const names = [arg.Flag, arg.Env, arg.YAML].filter(Boolean);
    return el(
      "tr", {},
      el("td", { "data-label": "Option" }, el("span", { class: "name", text: arg.ID }), el("span", { class: "sub", text: arg.Description })),
      el("td", { "data-label": "Value" }, shown),
      el("td", { "data-label": "Set by" }, ...names.map((text) => el("code", { class: "block", text }))),
    );
  });
  const head = el("tr", {}, ...["Option", "Value", "Set by"].map((text) => el("th", { scope: "col", text })));
  const table = el("table", {}, el("caption", { class: "unseen", text: `Options of ${name}` }), el("thead", {}, head), el("tbody", {}, ...rows));
  return el("section", { class: "live-table", id: `options-${id}` }, el("h3", { text: name }), el("p", { class: "quiet", text: summary }), el("div", { class: "scroll" }, table));
}

customElements.define("nfrx-options", Options);
