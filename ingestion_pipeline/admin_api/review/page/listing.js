/**
 * The list of items, by kind and in pages.
 *
 * One button of it is in the order of focus; the arrow keys, Home and End go from one to another.
 */
import { symbol } from "./map/symbols.js";
import { button, element, text } from "./dom.js";
import { named, t } from "./texts.js";

const PAGE = 50;
const NAME = 300;

export class Listing {
  constructor(data, onPick) {
    this.data = data;
    this.onPick = onPick;
    this.body = element("div", { id: "items" });
    this.position = element("span", { id: "page" });
    this.previous = button("previous_page", () => this.#turn(-1));
    this.next = button("next_page", () => this.#turn(1));
    const pages = element("div", { class: "bar pages" }, this.previous, this.position, this.next);
    this.root = element(
      "section",
      { id: "list", "aria-labelledby": "list-title" },
      text("h3", "list", {}, { id: "list-title" }),
      this.body,
      pages,
    );
    this.body.addEventListener("keydown", (event) => this.#move(event));
    this.body.addEventListener("focusin", ({ target }) => this.#rove(target.closest("button")));
  }

  /** List these items, from the first page on. */
  show(items) {
    this.items = items;
    this.page = 0;
    this.#draw();
  }

  /** Mark an item as the one that is shown in full; turn to its page. */
  mark(item) {
    const place = this.items.indexOf(item);
    if (place >= 0 && Math.floor(place / PAGE) !== this.page) {
      this.page = Math.floor(place / PAGE);
      this.#draw();
    }
    for (const each of this.#buttons()) {
      const isIt = item !== null && each.dataset.item === this.data.id(item);
      if (isIt) each.setAttribute("aria-current", "true");
      else each.removeAttribute("aria-current");
      if (isIt) {
        this.#rove(each);
        each.scrollIntoView({ block: "nearest" });
      }
    }
  }

  /** Put the focus on the button that is in the order of focus. */
  focus() {
    this.body.querySelector('button[tabindex="0"]')?.focus();
  }

  #buttons() {
    return [...this.body.querySelectorAll("button")];
  }

  #draw() {
    const { data, items } = this;
    const start = this.page * PAGE;
    const shown = items.slice(start, start + PAGE);
    const parts = [];
    for (const item of shown) {
      const kind = data.kind(item);
      if (parts.at(-1)?.kind !== kind) parts.push({ kind, items: [] });
      parts.at(-1).items.push(item);
    }
    this.body.replaceChildren(
      ...parts.flatMap((part) => [
        element("h4", {}, named("kind", part.kind)),
        element("ul", {}, ...part.items.map((item) => element("li", {}, this.#entry(item)))),
      ]),
    );
    if (!items.length) this.body.append(text("p", "nothing_matches", {}, { class: "quiet" }));
    this.#rove(this.#buttons()[0]);
    const last = Math.max(1, Math.ceil(items.length / PAGE));
    const range = { from: start + 1, to: start + shown.length, all: items.length };
    this.position.textContent = items.length ? t("page", range) : "";
    this.previous.disabled = this.page === 0;
    this.next.disabled = this.page >= last - 1;
    this.body.scrollTop = 0;
  }

  #entry(item) {
    const { data } = this;
    const size = data.sizeText(item);
    const made = element(
      "button",
      { type: "button", tabindex: "-1", "data-item": data.id(item), "data-kind": data.kind(item) },
      symbol(data.group(item)),
      element(
        "span",
        {},
        element("span", { class: "hidden" }, `${named("kind", data.kind(item))}: `),
        element("span", { class: "name", dir: "auto" }, data.name(item).slice(0, NAME)),
        element("span", { class: "class" }, element("bdi", {}, data.label(item)), size && ` · ${size}`),
      ),
    );
    made.addEventListener("click", () => this.onPick(item));
    return made;
  }

  #turn(by) {
    this.page += by;
    this.#draw();
    this.focus();
  }

  #rove(to) {
    if (!to) return;
    for (const each of this.#buttons()) each.tabIndex = each === to ? 0 : -1;
  }

  #move(event) {
    const buttons = this.#buttons();
    const at = buttons.indexOf(event.target.closest("button"));
    const step = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 };
    if (at < 0 || !(event.key in step)) return;
    event.preventDefault();
    buttons[Math.min(Math.max(step[event.key], 0), buttons.length - 1)].focus();
  }
}
