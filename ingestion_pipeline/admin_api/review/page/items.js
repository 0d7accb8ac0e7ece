/** The items of a difference: what the map and the list show, and how they are filtered. */
import { Data, folded } from "./map/data.js";
import { named, t } from "./texts.js";

export class Items extends Data {
  /** `json` is the answer of `difference/map`; its groups and kinds are in display order. */
  constructor(json, { basemap_style_url: basemap }) {
    super({ ...json, basemap });
    this.all = Array.from({ length: this.size }, (_, item) => item);
  }

  kind(item) {
    return this.kinds[this.items.kind[item]];
  }

  id(item) {
    return this.items.id[item];
  }

  place(item) {
    return this.items.place[item];
  }

  /** Return the items of a place. */
  ofPlace(place) {
    return this.all.filter((item) => this.place(item) === place);
  }

  /** Return the kinds that occur as `{kind, count, group}`, in display order. */
  get kindCounts() {
    const found = new Map();
    for (const item of this.all) {
      const kind = this.kind(item);
      const entry = found.get(kind) ?? { kind, count: 0, group: this.group(item) };
      entry.count += 1;
      found.set(kind, entry);
    }
    return [...found.values()];
  }

  /** Return the categories that occur as `[category, count]`, the largest first. */
  get categoryCounts() {
    const found = new Map();
    for (const item of this.all) {
      const category = this.value(this.classColumn, item);
      found.set(category, (found.get(category) ?? 0) + 1);
    }
    return [...found].sort(([one, a], [other, b]) => b - a || (one < other ? -1 : 1));
  }

  /** Return the items that match, in display order. */
  filtered({ kinds, category, text }) {
    const wanted = folded(text.trim());
    return this.all.filter((item) =>
      kinds.has(this.kind(item)) &&
      (!category || this.value(this.classColumn, item) === category) &&
      (this.matches(item, wanted) || this.place(item) === wanted));
  }

  /** Return how much an item differs, in words; empty where there is nothing to say. */
  sizeText(item) {
    const { size, fields, before, after } = this.items;
    if (this.kind(item) === "moved") return t("metres", { n: size[item] });
    if (before[item] === null || after[item] === null) return t("tags", { n: size[item] });
    return fields[item].map((name) => named("column", name)).join(", ");
  }
}

/** Return the number of items in words. */
export const counted = (n, of) =>
  n === of ? t("changes", { n }) : t("changes_of", { n, all: of });
