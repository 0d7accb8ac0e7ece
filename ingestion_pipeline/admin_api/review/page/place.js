/** One place in full: what it was and what it would be, by column, and where it comes from. */
import { symbol } from "./map/symbols.js";
import { content, isEmpty, osmLink } from "./map/values.js";
import { element, text, value } from "./dom.js";
import { day, named, t } from "./texts.js";
import { tree } from "./tree.js";

const NAME = 300;

/** The columns that accompany any change. */
const BOOKKEEPING = new Set([
  "content_hash", "source_hash", "first_promoted", "last_changed", "promotion_id",
]);

/**
 * Return what is shown of a place.
 *
 * `found` is the answer of `difference/place`; `nearby` are the items at the same spot, of which
 * `onPick` opens one.
 */
export function placeParts(found, { data, item, nearby, onPick }) {
  const parts = [];
  const spots = [...new Map(nearby.map((each) => [data.place(each), each])).values()];
  if (spots.length > 1) parts.push(...sameSpot(data, item, spots, onPick));
  const kinds = found.items.map((each) => element("li", {}, ...event(each)));
  if (kinds.length) parts.push(element("ul", { class: "kinds" }, ...kinds));
  const changed = found.columns.filter((each) => each.changed && !BOOKKEEPING.has(each.column));
  const others = found.columns.filter((each) => !changed.includes(each) && !isEmpty(each.after));
  const both = found.positions.before && found.positions.after;
  if (both) {
    parts.push(table(found, changed, t("changed_columns")));
    parts.push(
      element(
        "details",
        {},
        text("summary", "other_columns", { n: others.length }),
        table(found, others, t("others")),
      ),
    );
  } else {
    const all = found.columns.filter((each) => !isEmpty(each.before) || !isEmpty(each.after));
    parts.push(table(found, all, t("all_columns")));
  }
  const link = osmLink(found.source_ref, t("show_in_osm"));
  if (link) parts.push(element("p", {}, link));
  parts.push(
    element("details", { id: "evidence" }, text("summary", "evidence"), tree(found.staged)),
    explanation(found),
  );
  return parts;
}

function sameSpot(data, item, spots, onPick) {
  const entries = spots.map((other) => {
    const made = element(
      "button",
      { type: "button" },
      symbol(data.group(other)),
      element("span", { dir: "auto" }, data.name(other).slice(0, NAME)),
    );
    if (data.place(other) === data.place(item)) made.setAttribute("aria-current", "true");
    made.addEventListener("click", () => onPick(other, spots));
    return element("li", {}, made);
  });
  return [
    text("p", "same_spot", { n: spots.length }),
    element("ul", { class: "here" }, ...entries),
  ];
}

function event({ kind, size, cause, evidence }) {
  const words = [named("kind", kind)];
  if (size.unit === "metres") words.push(t("metres", { n: size.value }));
  if (cause && cause !== "upstream") words.push(t("cause", { cause: named("cause", cause) }));
  const nodes = [element("strong", {}, words.join(" · "))];
  const rest = Object.fromEntries(Object.entries(evidence).filter(([name]) => name !== "metres"));
  if (Object.keys(rest).length) {
    nodes.push(element("details", {}, text("summary", "evidence_of_event"), tree(rest)));
  }
  return nodes;
}

function table(found, columns, caption) {
  const sides = ["before", "after"].filter((side) => found.positions[side]);
  const heads = sides.map((side) => {
    const when = side === "before" ? found.from_day : found.to_day;
    return element("th", { scope: "col" }, t(side, { day: when ? day(when) : "" }));
  });
  const rows = columns.map((column) => {
    const name = named("column", column.column);
    const differs = column.changed && sides.length === 2;
    const head = element("th", { scope: "row" }, name);
    if (differs) head.append(text("span", "differs", {}, { class: "hidden" }));
    const cells = sides.map((side) => element("td", {}, cellOf(column.column, column[side])));
    const attributes = { "data-column": column.column, ...(differs && { class: "differs" }) };
    return element("tr", attributes, head, ...cells);
  });
  return element(
    "table",
    { class: "columns" },
    element("caption", { class: "hidden" }, caption),
    element("thead", {}, element("tr", {}, element("td"), ...heads)),
    element("tbody", {}, ...rows),
  );
}

function cellOf(column, cell) {
  if (column !== "geometry" || cell === null) return content(cell, value);
  return element("div", {}, cell.type, " ", value(JSON.stringify(cell.coordinates ?? cell.geometries)));
}

function explanation({ explanation: found }) {
  if (!found) return text("p", "not_explained", {}, { class: "quiet" });
  // The row is in the table of columns.
  const { place: _, events, promotion, ...rest } = found;
  return element(
    "details",
    { id: "explanation" },
    text("summary", "explanation"),
    tree(rest),
    element("details", {}, text("summary", "explained_promotion"), tree(promotion)),
    element("details", {}, text("summary", "explained_events", { n: events.length }), tree(events)),
  );
}
