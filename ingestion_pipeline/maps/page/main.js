/** The page: one list of items, shown by the map and by the list, filtered by legend and search. */
import { folded, read } from "./data.js";
import { List, details, legend, what } from "./panel.js";
import { View } from "./view.js";

const byId = (id) => document.getElementById(id);
const SEARCH_MS = 150;

const data = await read(byId("data"));
let view = null;
let opener = null;

const shown = legend(data, filter);
const list = new List(data, (item) => pick(item, [item], { move: true }));

byId("summary").textContent = summary();
byId("attribution").textContent = attribution();

let waiting;
byId("search").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(filter, SEARCH_MS);
});
byId("close").addEventListener("click", close);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !byId("details").hidden) close();
});

filter();
try {
  view = await View.open(data, {
    container: byId("map"),
    label: "Map; arrow keys move it, plus and minus zoom",
    onPick: (items) => pick(items[0], items),
    onMove: ({ lng, lat }) => {
      byId("coordinates").textContent = `${lat.toFixed(5)}, ${lng.toFixed(5)}`;
    },
  });
  const isDrawn = new Promise((resolve) => view.map.once("idle", resolve));
  filter();
  await isDrawn;
  performance.mark("drawn");
} catch (error) {
  if (view) throw error;
  byId("map").hidden = true;
  byId("position").hidden = true;
  byId("no-map").hidden = false;
}
document.documentElement.dataset.state = "ready";

function filter() {
  const groups = shown();
  const text = folded(byId("search").value.trim());
  const items = [];
  for (let item = 0; item < data.size; item += 1) {
    if (groups[data.items.group[item]] && data.matches(item, text)) items.push(item);
  }
  list.show(items);
  view?.show(items);
}

function pick(item, items, { move = false } = {}) {
  if (byId("details").hidden) opener = document.activeElement;
  details(data, item, items, pick);
  view?.map.resize();
  view?.select(item, { move });
  byId("details").focus();
}

function close() {
  byId("details").hidden = true;
  view?.map.resize();
  view?.select(null);
  opener?.focus();
}

function summary() {
  const days = Object.entries(data.asOf).map(([day, moment]) => ` ${day}: data of ${moment}`);
  return `${data.size.toLocaleString("en")} ${what(data)}.${days.length ? `${days.join(";")}.` : ""}`;
}

function attribution() {
  const { attribution: credits, licence } = data.columns;
  return [...new Set(credits.map((credit, row) => `${credit} (${licence[row]})`))].join("; ");
}
