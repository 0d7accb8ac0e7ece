/** The legend, the list and the details beside the map. */
import { symbol } from "./symbols.js";
import { content, element, heading, isEmpty, osmLink } from "./values.js";

const SHOWN_AT_ONCE = 100;

/** The rows of the details in this order; columns that are not named follow. */
const FIRST = [
  "category", "kind", "status", "opening_hours", "contact", "address", "tags", "names", "source",
  "licence", "attribution", "as of",
];

const byId = (id) => document.getElementById(id);

/** Show the groups with their counts; `onChange` is called when one is switched. */
export function legend(data, onChange) {
  const counts = data.counts();
  const boxes = data.groups.map((group, place) => {
    const box = element("input", { type: "checkbox", value: group.key });
    box.checked = true;
    box.addEventListener("change", onChange);
    const count = element("span", { class: "count" }, counts[place].toLocaleString("en"));
    const label = element("label", {}, box, symbol(group), element("span", {}, group.label), count);
    label.hidden = counts[place] === 0;
    byId("groups").append(label);
    return box;
  });
  const switchAll = (on) => () => {
    for (const box of boxes) box.checked = on;
    onChange();
  };
  byId("all").addEventListener("click", switchAll(true));
  byId("none").addEventListener("click", switchAll(false));
  return () => boxes.map((box) => box.checked);
}

/** Return a button for an item, with its symbol, name and class. */
function button(data, item, onPick) {
  const made = element(
    "button",
    { type: "button", "data-ref": data.value("source_ref", item) },
    symbol(data.group(item)),
    element(
      "span",
      {},
      element("span", { class: "hidden" }, `${data.group(item).label}: `),
      element("span", { class: "name", dir: "auto" }, data.name(item).slice(0, 300)),
      element("span", { class: "class" }, data.label(item)),
    ),
  );
  made.addEventListener("click", () => onPick(item));
  return made;
}

export class List {
  constructor(data, onPick) {
    this.data = data;
    this.onPick = onPick;
    byId("more").addEventListener("click", () => this.#more());
  }

  /** List these items, the first of them at once. */
  show(items) {
    this.items = items;
    byId("items").replaceChildren();
    this.#more();
    const shown = items.length.toLocaleString("en");
    byId("status").textContent =
      `${shown} of ${this.data.size.toLocaleString("en")} ${what(this.data)} shown`;
  }

  #more() {
    const list = byId("items");
    const start = list.childElementCount;
    const next = this.items.slice(start, start + SHOWN_AT_ONCE);
    list.append(...next.map((item) => element("li", {}, button(this.data, item, this.onPick))));
    const left = this.items.length - list.childElementCount;
    byId("more").hidden = left <= 0;
    byId("more").textContent = `Show more (${left.toLocaleString("en")} left)`;
    if (start && list.children[start]) list.children[start].firstChild.focus();
  }
}

export function what(data) {
  return data.isDifference ? "changes" : data.things;
}

/** Show an item in full; `others` are items at the same place. */
export function details(data, item, others, onPick) {
  const { before, after, fields, cause } = data.items;
  byId("details-title").textContent = data.name(item);
  const body = byId("details-body");
  body.replaceChildren();
  if (others.length > 1) {
    const buttons = others.map((each) => {
      const made = button(data, each, (picked) => onPick(picked, others));
      if (each === item) made.setAttribute("aria-current", "true");
      return element("li", {}, made);
    });
    body.append(
      element("p", {}, `${others.length} ${what(data)} at this place:`),
      element("ul", { class: "here" }, ...buttons),
    );
  }
  if (data.isDifference) {
    const note = cause[item] === "upstream" ? "" : ` (cause: ${cause[item]})`;
    body.append(element("p", {}, `${data.group(item).label}${note}`));
  }
  const states = data.isDifference
    ? [[data.from, before[item]], [data.day, after[item]]]
    : [[data.day, after[item]]];
  body.append(table(data, states, new Set(fields[item])));
  const link = osmLink(data.value("source_ref", item), "Show in OpenStreetMap");
  if (link) body.append(element("p", {}, link));
  byId("details").hidden = false;
}

function table(data, states, differing) {
  const known = states.filter(([, row]) => row !== null);
  const names = Object.keys(data.columns).filter((name) => name !== "name_source");
  const order = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const body = element("tbody");
  for (const name of [...names, "as of"].sort((a, b) => order(a) - order(b))) {
    const cells = states.map(([day, row]) => {
      if (row === null) return "";
      if (name === "as of") return data.asOf[day] ?? null;
      const value = data.columns[name][row];
      return name === data.classColumn ? `${data.classes[value]} (${value})` : value;
    });
    if (cells.every(isEmpty)) continue;
    const differs = known.length === 2 && differing.has(name);
    const head = element("th", { scope: "row" }, heading(name), differs ? " (changed)" : "");
    const row = element("tr", differs ? { class: "differs" } : {}, head);
    row.append(...cells.map((cell) => element("td", {}, content(cell))));
    body.append(row);
  }
  const heads = states.map(([day, row], place) => {
    const when = states.length === 1 ? "" : place ? "After, " : "Before, ";
    return element("th", { scope: "col" }, `${when}${day}${row === null ? ": none" : ""}`);
  });
  const head = element("tr", {}, element("td", {}), ...heads);
  const caption = element("caption", { class: "hidden" }, "All values");
  return element("table", {}, caption, element("thead", {}, head), body);
}
