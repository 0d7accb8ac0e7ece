/** The difference of two sides: filters, map, list, and one place in full. */
import { symbol } from "./map/symbols.js";
import { View } from "./map/view.js";
import { get } from "./api.js";
import { announce, button, element, text } from "./dom.js";
import { Items, counted } from "./items.js";
import { Listing } from "./listing.js";
import { placeParts } from "./place.js";
import { format } from "./routes.js";
import { named, number, t } from "./texts.js";

const TYPING_MS = 150;

export class Difference {
  /** Read the difference of `sides` ({from, to}) of a city. */
  static async load(route, sides, context) {
    const path = `admin/review/cities/${encodeURIComponent(route.city)}/difference`;
    const json = await get(`${path}/map`, { query: sides, signal: context.signal });
    return new Difference(new Items(json, context.settings), { route, sides, path, context });
  }

  constructor(data, { route, sides, path, context }) {
    Object.assign(this, { data, route, sides, path, context });
    this.map = null;
    this.opener = null;
    this.item = null;
    this.picked = null;
    this.nearby = [];
    this.list = new Listing(data, (item) => this.#go(item, [item]));
    this.root = element(
      "section",
      { id: "difference", "aria-labelledby": "difference-title" },
      text("h2", "difference", {}, { id: "difference-title" }),
      element("p", { id: "count", role: "status" }),
      element("div", { id: "panes" }, this.#filters(), this.#mapArea(), this.#details(), this.list.root),
    );
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.details.hidden) this.#close();
    });
  }

  /** Draw the map, once the view is in the document. */
  async start() {
    this.#filter();
    performance.mark("listed");
    try {
      this.map = await View.open(this.data, {
        container: this.canvas,
        label: t("map_label"),
        onPick: (items) => this.#go(items[0], items),
        onMove: ({ lng, lat }) => {
          this.coordinates.textContent = `${lat.toFixed(5)}, ${lng.toFixed(5)}`;
        },
      });
    } catch {
      this.canvas.hidden = true;
      this.position.hidden = true;
      this.noMap.hidden = false;
      this.root.dataset.state = "ready";
      return;
    }
    if (this.isClosed) {
      this.map.map.remove();
      return;
    }
    const isDrawn = new Promise((resolve) => this.map.map.once("idle", resolve));
    this.map.show(this.shown);
    this.#mark();
    await isDrawn;
    performance.mark("drawn");
    this.root.dataset.state = "ready";
  }

  /** End the map; what is still loaded is not shown. */
  close() {
    this.isClosed = true;
    this.map?.map.remove();
  }

  /** Show a place in full, or none. */
  async open(place) {
    this.place = place;
    if (place === undefined) {
      this.details.hidden = true;
      this.#mark();
      return;
    }
    const ofPlace = this.data.ofPlace(place);
    const isPicked = ofPlace.includes(this.picked);
    this.item = isPicked ? this.picked : (ofPlace[0] ?? null);
    const nearby = isPicked ? this.nearby : ofPlace;
    this.details.setAttribute("aria-busy", "true");
    let found;
    try {
      const query = { ...this.sides, place };
      found = await get(`${this.path}/place`, { query, signal: this.context.signal });
    } catch (error) {
      if (error.name !== "AbortError") this.context.failed(error);
      return;
    } finally {
      this.details.removeAttribute("aria-busy");
    }
    if (this.place !== place) return;
    this.title.textContent = found.name || found.category_label;
    const { data, item } = this;
    const onPick = (picked, all) => this.#go(picked, all);
    this.body.replaceChildren(...placeParts(found, { data, item, nearby, onPick }));
    this.details.hidden = false;
    this.details.scrollTop = 0;
    this.map?.map.resize();
    this.#mark({ move: !this.fromMap });
    this.details.focus();
  }

  #go(item, items) {
    [this.picked, this.nearby] = [item, items];
    this.opener = document.activeElement;
    this.fromMap = this.canvas.contains(this.opener);
    const address = format({ ...this.route, place: this.data.place(item) });
    if (location.hash === address) this.open(this.data.place(item));
    else location.hash = address;
  }

  #close() {
    location.hash = format({ ...this.route, place: undefined });
    if (this.opener?.isConnected) this.opener.focus();
    else this.list.focus();
  }

  #mark(options) {
    const item = this.place === undefined ? null : this.item;
    this.list.mark(item);
    this.map?.map.resize();
    this.map?.select(item, options);
  }

  #filter() {
    const kinds = new Set(this.boxes.filter((box) => box.checked).map((box) => box.value));
    const [category, wanted] = [this.category.value, this.search.value];
    this.shown = this.data.filtered({ kinds, category, text: wanted });
    this.list.show(this.shown);
    this.map?.show(this.shown);
    this.root.querySelector("#count").textContent = counted(this.shown.length, this.data.size);
  }

  #filters() {
    const { data } = this;
    let waiting;
    this.search = element("input", {
      id: "search", type: "search", autocomplete: "off", spellcheck: "false", dir: "auto",
    });
    this.search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.#filter(), TYPING_MS);
    });
    const categories = data.categoryCounts.map(([category, count]) =>
      element("option", { value: category }, `${data.classes[category]} (${number(count)})`));
    this.category = element(
      "select", { id: "category" }, text("option", "all_categories", {}, { value: "" }), ...categories,
    );
    this.category.addEventListener("change", () => this.#filter());
    this.boxes = [];
    const labels = data.kindCounts.map(({ kind, count, group }) => {
      const box = element("input", { type: "checkbox", value: kind });
      box.checked = true;
      box.addEventListener("change", () => this.#filter());
      this.boxes.push(box);
      const words = element("span", {}, named("kind", kind));
      const counts = element("span", { class: "count" }, number(count));
      return element("label", {}, box, symbol(group), words, counts);
    });
    const all = (on) => () => {
      for (const box of this.boxes) box.checked = on;
      this.#filter();
      announce(this.root.querySelector("#count").textContent);
    };
    const buttons = [button("show_all_kinds", all(true)), button("hide_all_kinds", all(false))];
    return element(
      "section",
      { id: "filters", "aria-label": t("filters") },
      text("label", "search", {}, { for: "search" }),
      this.search,
      text("label", "category", {}, { for: "category" }),
      this.category,
      element(
        "fieldset",
        { id: "kinds" },
        text("legend", "kinds"),
        ...labels,
        element("div", { class: "bar" }, ...buttons),
      ),
    );
  }

  #mapArea() {
    this.canvas = element("div", { id: "map" });
    this.noMap = text("p", "no_map", {}, { id: "no-map", hidden: "" });
    this.coordinates = element("span", { id: "coordinates", dir: "ltr" });
    this.position = element(
      "p", { id: "position" }, text("span", "position", {}, { class: "hidden" }), this.coordinates,
    );
    return element(
      "section", { id: "map-area", "aria-label": t("map") }, this.canvas, this.noMap, this.position,
    );
  }

  #details() {
    this.title = element("h3", { id: "details-title", dir: "auto" });
    this.body = element("div", { id: "details-body" });
    const close = button("close_place", () => this.#close(), { id: "close" });
    this.details = element(
      "section",
      { id: "details", "aria-labelledby": "details-title", tabindex: "-1", hidden: "" },
      element("div", { class: "bar" }, this.title, close),
      this.body,
    );
    return this.details;
  }
}
