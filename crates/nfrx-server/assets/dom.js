// The few ways in which this page touches the document. Whatever comes from a worker goes
// through `textContent` or an attribute, never through HTML.

const SVG = "http://www.w3.org/2000/svg";

/** A new element: `el("p", { class: "quiet", text: "…" }, child, …)`. */
export function el(name, options = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || value === false) continue;
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Sets a text, if it is another one. */
export function setText(node, text) {
  const next = String(text);
  if (node.shownText === next) return;
  node.shownText = next;
  node.textContent = next;
}

/** Sets or takes away an attribute, if that changes anything. */
export function setAttr(node, name, value) {
  if (value === undefined || value === null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/** Shows or hides. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/**
 * Makes the children of `parent` those of `items`, in their order: nodes are made once for
 * each key, updated, moved only where the order changed, and removed with their item.
 * `make` gives `{ node, update(item) }`.
 */
export class KeyedList {
  constructor(parent, key, make) {
    Object.assign(this, { parent, key, make, known: new Map() });
  }

  update(items) {
    const gone = new Map(this.known);
    let at = this.parent.firstElementChild;
    for (const item of items) {
      const key = this.key(item);
      let entry = this.known.get(key);
      if (!entry) this.known.set(key, (entry = this.make(item)));
      gone.delete(key);
      entry.update(item);
      if (entry.node === at) at = at.nextElementSibling;
      else this.parent.insertBefore(entry.node, at);
    }
    for (const [key, entry] of gone) {
      entry.node.remove();
      this.known.delete(key);
    }
  }
}

/** A bar that is filled by a share from 0 to 1; decoration beside a number in words. */
export function bar() {
  const fill = el("span", { class: "bar-fill" });
  const node = el("span", { class: "meter", "aria-hidden": "true" }, fill);
  let shown;
  return {
    node,
    update(share) {
      const percent = Math.round(Math.min(1, Math.max(0, share || 0)) * 100);
      if (percent === shown) return;
      shown = percent;
      fill.style.setProperty("--share", `${percent}%`);
      setAttr(node, "data-level", percent >= 90 ? "high" : undefined);
    },
  };
}

/** A small line of the last values; decoration beside the last value in words. */
export function sparkline(width = 60, height = 16) {
  const line = document.createElementNS(SVG, "path");
  const area = document.createElementNS(SVG, "path");
  area.setAttribute("class", "spark-area");
  line.setAttribute("class", "spark-line");
  const node = document.createElementNS(SVG, "svg");
  node.setAttribute("class", "spark");
  node.setAttribute("viewBox", `0 0 ${width} ${height}`);
  node.setAttribute("preserveAspectRatio", "none");
  node.setAttribute("aria-hidden", "true");
  node.append(area, line);
  let shown;
  return {
    node,
    update(values) {
      const path = pathOf(values, width, height);
      if (path === shown) return;
      shown = path;
      line.setAttribute("d", path);
      area.setAttribute("d", path && `${path}L${width} ${height}L0 ${height}Z`);
    },
  };
}

function pathOf(values, width, height) {
  const top = Math.max(...values, 0);
  if (!top) return `M0 ${height - 1}L${width} ${height - 1}`;
  const step = width / (values.length - 1);
  const y = (value) => (height - 1 - (value / top) * (height - 2)).toFixed(1);
  return values.map((value, nth) => `${nth ? "L" : "M"}${(nth * step).toFixed(1)} ${y(value)}`).join("");
}
