// A table that lives: rows keep their elements, and sorting is a matter of its headings.

import { el, setAttr, KeyedList } from "/assets/dom.js";

/**
 * Columns are `{ title, value(row), cell(td) → update(row), number, first, hide }`; one without
 * `value` can't be sorted by. `first: "down"` sorts from the largest.
 */
export class LiveTable {
  constructor({ caption, columns, sort, empty, key = (row) => row.key }) {
    Object.assign(this, { columns, sort, key, rows: [], descending: columns[sort]?.first === "down" });
    const head = el("tr");
    this.headings = columns.map((column, nth) => this.heading(column, nth));
    head.append(...this.headings);
    const body = el("tbody");
    this.list = new KeyedList(body, key, () => this.row());
    this.empty = el("p", { class: "empty", text: empty, hidden: true });
    const table = el("table", {}, el("caption", { class: "unseen", text: caption }), el("thead", {}, head), body);
    this.wrap = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
    this.node = el("div", { class: "live-table" }, this.picker(caption), this.wrap, this.empty);
    this.mark();
  }

  heading(column, nth) {
    const th = el("th", { scope: "col", class: column.number ? "number" : undefined });
    if (!column.value) th.append(column.title);
    else th.append(el("button", { type: "button", class: "sorter", text: column.title, onclick: () => this.sortBy(nth) }));
    return th;
  }

  /** What headings do on a wide screen, on a phone a list does. */
  picker(caption) {
    this.select = el("select", { onchange: () => this.sortBy(Number(this.select.value)) });
    this.columns.forEach((column, nth) => column.value && this.select.append(el("option", { value: nth, text: column.title })));
    const turn = el("button", { type: "button", text: "⇅", title: "Turn the order around", "aria-label": "Turn the order around", onclick: () => this.sortBy(this.sort) });
    return el("div", { class: "sort-picker" }, el("label", {}, "Sort by ", this.select), turn);
  }

  sortBy(nth) {
    this.descending = nth === this.sort ? !this.descending : this.columns[nth].first === "down";
    this.sort = nth;
    this.mark();
    this.update(this.rows);
  }

  mark() {
    this.select.value = this.sort;
    this.headings.forEach((th, nth) => {
      setAttr(th, "aria-sort", nth === this.sort ? (this.descending ? "descending" : "ascending") : undefined);
    });
  }

  row() {
    const node = el("tr");
    const updates = this.columns.map((column) => {
      const td = el("td", { "data-label": column.title, class: column.number ? "number" : undefined });
      node.append(td);
      return column.cell(td);
    });
    return { node, update: (row) => updates.forEach((update) => update(row)) };
  }

  update(rows) {
    this.rows = rows;
    const { value } = this.columns[this.sort];
    const sign = this.descending ? -1 : 1;
    const sorted = rows
      .map((row) => ({ row, value: value(row) }))
      .sort((a, b) => sign * compare(a.value, b.value) || compare(this.key(a.row), this.key(b.row)));
    this.list.update(sorted.map(({ row }) => row));
    this.wrap.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
  }
}

const texts = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  if (typeof a === "string") return texts.compare(a, b);
  return (a ?? -1) - (b ?? -1);
}
