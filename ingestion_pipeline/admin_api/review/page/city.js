/** The view of a city: its state, a promotion with its gates and decisions, and a difference. */
import { Problem, get } from "./api.js";
import { checksOf, lag, nameOf, newest } from "./cities.js";
import { decisionButtons } from "./decision.js";
import { Difference } from "./difference.js";
import { announce, badge, element, english, facts, text, value } from "./dom.js";
import { gatesList } from "./gates.js";
import { format } from "./routes.js";
import { day, moment, named, number, t } from "./texts.js";

const POLL_MS = 2000;
const PUBLIC = "public";
const PROPOSAL = "proposal";

/** The jobs of promotions that were approved in this tab, by promotion. */
const jobs = new Map();

export class CityView {
  /** Read what the address shows. */
  static async load(route, context) {
    const { signal } = context;
    const ofCity = `admin/review/cities/${encodeURIComponent(route.city)}`;
    const [{ cities }, days, history] = await Promise.all([
      get("admin/review/cities", { signal }),
      get(`${ofCity}/days`, { query: { limit: 200 }, signal }),
      get("admin/promotions", { query: { city_slug: route.city, limit: 20 }, signal }),
    ]);
    const city = cities.find((each) => each.city_slug === route.city);
    const { open, public: last } = city.promotion;
    const id = route.promotion ?? open?.promotion_id ?? last?.promotion_id;
    const path = `admin/promotions/${encodeURIComponent(id)}`;
    const detail = id && (await get(path, { query: { limit: 0 }, signal }));
    const promotion = detail?.promotion ?? null;
    const found = { city, days: days.days, history: history.promotions, promotion };
    const sides = sidesOf(route, found);
    const difference = sides && (await Difference.load(route, sides, context));
    return new CityView(route, { ...found, sides, difference, context });
  }

  constructor(route, { city, days, history, promotion, sides, difference, context }) {
    Object.assign(this, { route, city, days, history, promotion, sides, difference, context });
    this.title = nameOf(city);
    this.root = element(
      "div",
      { class: "view" },
      element("p", { class: "crumbs" }, element("a", { href: "#" }, `‹ ${t("cities")}`)),
      element("h1", { tabindex: "-1", dir: "auto" }, this.title),
      this.#state(),
      this.#promotion(),
      this.#sides(),
      difference?.root ?? text("p", this.#whyNoDifference(), {}, { id: "no-difference" }),
      this.#history(),
    );
  }

  /** Draw the map, open the place of the address, and wait for a job that is not done. */
  start() {
    this.difference?.start();
    if (this.route.place !== undefined) this.open(this.route);
    if (this.promotion?.status === "APPROVED") this.#wait(this.promotion.promotion_id);
  }

  open(route) {
    this.route = route;
    return this.difference?.open(route.place);
  }

  close() {
    clearTimeout(this.waiting);
    this.difference?.close();
  }

  #state() {
    const { policy, public: last } = this.city.promotion;
    const shown = last
      ? [day(last.day), " ", element("span", { class: "quiet" }, t("places", { n: last.places }))]
      : [t("nothing_public")];
    return element(
      "section",
      { id: "state", "aria-label": t("state") },
      facts([
        ["public_now", ...shown],
        ["newest_day", ...newest(this.city)],
        ["lag", ...lag(this.city)],
        ["policy", t(`policy.${policy}`)],
        ["checks", ...checksOf(this.city)],
      ]),
    );
  }

  #promotion() {
    const { promotion } = this;
    if (!promotion) return text("p", "no_promotion", {}, { id: "no-promotion" });
    const { status, gates } = promotion;
    const severity = { PROMOTED: "pass", REJECTED: "none", SUPERSEDED: "none", FAILED: "stop" };
    const lines = [
      element(
        "p",
        { id: "promotion-status", "data-status": status },
        badge(severity[status] ?? "review", t(`status.${status}`)),
        " ",
        t("of_day", { day: day(promotion.day) }),
        promotion.reverts ? ` · ${t("is_revert")}` : "",
      ),
    ];
    if (promotion.decided_by) lines.push(decidedBy(promotion));
    const counts = Object.entries(promotion.counts)
      .toSorted(([, one], [, other]) => other - one)
      .map(([kind, n]) => `${named("kind", kind)}: ${number(n)}`);
    if (counts.length) lines.push(element("p", { class: "quiet" }, counts.join(" · ")));
    if (promotion.attribution) {
      lines.push(element("p", { class: "quiet" }, t("attribution"), " ", value(promotion.attribution)));
    }
    return element(
      "section",
      { id: "promotion", "aria-labelledby": "promotion-title" },
      text("h2", this.#isOpen() ? "proposal" : "promotion_of_city", {}, { id: "promotion-title" }),
      ...lines,
      decisionButtons(promotion, this.title, (answer, problem) => this.#decided(answer, problem)),
      text("h3", "gates"),
      gatesList(gates),
    );
  }

  #isOpen() {
    return ["PROPOSED", "APPROVED"].includes(this.promotion.status);
  }

  async #decided(answer, problem) {
    const { context, city } = this;
    if (answer) {
      const { promotion, job } = answer;
      if (job) jobs.set(promotion.promotion_id, job.job_id);
      const address = format({ city: city.city_slug });
      if (location.hash !== address) history.pushState(null, "", address);
    }
    if (!problem?.isOfToken) await context.reload();
    if (problem) context.failed(problem);
    else announce(t(`status.${answer.promotion.status}`));
  }

  /** Wait until a job has made an approved promotion public; then show that. */
  #wait(id) {
    const poll = async () => {
      const { promotion } = await this.#read(`admin/promotions/${id}`, { limit: 0 });
      if (promotion.status !== "APPROVED") {
        await this.context.reload();
        announce(t(`status.${promotion.status}`));
        return;
      }
      const job = jobs.has(id) ? await this.#read(`jobs/${jobs.get(id)}`) : null;
      if (job?.status === "FAILED") {
        throw new Problem({ code: "job_failed", detail: job.error?.message });
      }
      this.waiting = setTimeout(again, POLL_MS);
    };
    const again = () => poll().catch((error) => {
      if (error.name !== "AbortError") this.context.failed(error);
    });
    this.waiting = setTimeout(again, POLL_MS);
  }

  #read(path, query) {
    return get(path, { query, signal: this.context.signal });
  }

  #sides() {
    const { days, city } = this;
    if (!days.length) return "";
    const { open, public: last } = city.promotion;
    const special = { from: last && [PUBLIC, t("side_public", { day: day(last.day) })] };
    special.to = open && [PROPOSAL, t("side_proposal", { day: day(open.day) })];
    const choice = (side) => {
      const options = days.map((each) => [each.day, day(each.day)]);
      if (special[side]) options.unshift(special[side]);
      const made = element(
        "select",
        { id: side },
        ...options.map(([key, words]) => element("option", { value: key }, words)),
      );
      if (this.sides) made.value = this.sides[side];
      return made;
    };
    const [from, to] = [choice("from"), choice("to")];
    const form = element(
      "form",
      { id: "sides", "aria-label": t("compare_label") },
      text("label", "from", {}, { for: "from" }),
      from,
      text("label", "to", {}, { for: "to" }),
      to,
      text("button", "compare", {}, { type: "submit" }),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      location.hash = format({ city: city.city_slug, days: [from.value, to.value] });
    });
    return form;
  }

  #whyNoDifference() {
    if (!this.days.length) return "nothing_staged";
    return this.city.promotion.public ? "nothing_newer" : "nothing_to_compare";
  }

  #history() {
    const rows = this.history.map((each) => {
      const href = format({ city: each.city_slug, promotion: each.promotion_id });
      const line = element(
        "li",
        {},
        element("a", { href }, day(each.day)),
        " ",
        badge("none", t(`status.${each.status}`)),
        each.reverts ? ` ${t("is_revert")}` : "",
      );
      if (each.decided_by) line.append(decidedBy(each));
      return line;
    });
    return element(
      "section",
      { id: "history", "aria-labelledby": "history-title" },
      text("h2", "history", {}, { id: "history-title" }),
      rows.length ? element("ol", {}, ...rows) : text("p", "no_promotion"),
    );
  }
}

/** Return what an address compares: a promotion with what it replaces, or two days; null for nothing. */
function sidesOf(route, { city, days, history, promotion }) {
  if (route.days) return { from: route.days[0], to: route.days[1] };
  const { open, public: last } = city.promotion;
  if (open && promotion?.promotion_id === open.promotion_id) return { from: PUBLIC, to: PROPOSAL };
  const isStaged = (each) => days.some((staged) => staged.day === each);
  if (route.promotion) {
    const base = history.find((each) => each.promotion_id === promotion.base_id);
    const isKnown = base && isStaged(base.day) && isStaged(promotion.day) && base.day < promotion.day;
    return isKnown ? { from: base.day, to: promotion.day } : null;
  }
  const [newestDay] = days;
  const isBehind = last && newestDay && last.day < newestDay.day && isStaged(last.day);
  return isBehind ? { from: PUBLIC, to: newestDay.day } : null;
}

function decidedBy({ decided_by: who, decided_at: at, decision_reason: why }) {
  const person = who === "automatic" ? element("span", {}, t("automatic")) : value(who);
  const line = element("p", { class: "decided" }, t("decided_by"), " ", person);
  if (at) line.append(`, ${moment(at)}`);
  if (why) line.append(": ", who === "automatic" ? english(why) : value(why));
  return line;
}
