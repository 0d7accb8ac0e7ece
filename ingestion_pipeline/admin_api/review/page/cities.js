/** The view of all cities: newest staged day, checks, promotion and lag of each. */
import { get } from "./api.js";
import { badge, element, english, text, value } from "./dom.js";
import { format } from "./routes.js";
import { current, day, moment, named, t } from "./texts.js";

const COLUMNS = ["city", "newest_day", "checks", "promotion", "lag"];

/** Return the view. */
export async function citiesView({ signal }) {
  const { cities } = await get("admin/review/cities", { signal });
  const heads = COLUMNS.map((key) => text("th", key, {}, { scope: "col", role: "columnheader" }));
  const rows = cities.map((city) => {
    const cells = [link(city), newest(city), checksOf(city), promotionOf(city), lag(city)];
    return element("tr", { role: "row" }, ...cells.map((nodes, place) => cell(nodes, place)));
  });
  return element(
    "div",
    { class: "view" },
    text("h1", "cities", {}, { tabindex: "-1" }),
    text("p", "cities_about", { n: cities.length }, { class: "quiet" }),
    element(
      "table",
      { class: "cities", role: "table" },
      text("caption", "cities", {}, { class: "hidden" }),
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads)),
      element("tbody", { role: "rowgroup" }, ...rows),
    ),
  );
}

function cell(nodes, place) {
  const label = t(COLUMNS[place]);
  const isHead = place === 0;
  const role = isHead ? "rowheader" : "cell";
  return element(
    isHead ? "th" : "td",
    { role, ...(isHead && { scope: "row" }), "data-label": label },
    ...nodes,
  );
}

/** Return the name of a city in the language of the page. */
export const nameOf = (city) => city.name[current()] ?? city.name.en ?? city.city_slug;

function link(city) {
  const href = format({ city: city.city_slug });
  const made = element("a", { href, "data-city": city.city_slug, dir: "auto" }, nameOf(city));
  return city.enabled ? [made] : [made, " ", badge("none", t("disabled"))];
}

/** Return the staged days of a city, a line for each dataset. */
export function newest(city) {
  if (!city.datasets.length) return [text("span", "not_staged", {}, { class: "quiet" })];
  return city.datasets.map((each) => {
    const title = t("as_of", { moment: moment(each.as_of) });
    const line = element("div", { title }, day(each.day), " ");
    line.append(text("span", `rows.${each.dataset}`, { n: each.rows }, { class: "quiet" }));
    for (const name of ["stale_reason", "accepted_reason"]) {
      if (each[name]) line.append(element("div", {}, badge("review", t(name)), " ", value(each[name])));
    }
    return line;
  });
}

/** Return what the checks of the newest days found; those that passed are counted. */
export function checksOf(city) {
  const lines = city.datasets.flatMap(({ checks }) => checks.filter((each) => each.message !== null));
  const all = city.datasets.flatMap(({ checks }) => checks).length;
  const nodes = lines.map((each) =>
    element(
      "div",
      {},
      badge(each.result === "accepted" ? "review" : "stop", t(`check.${each.result}`)),
      " ",
      element("strong", {}, named("check_name", each.name)),
      ": ",
      english(each.message),
    ));
  const passed = all - lines.length;
  if (passed) nodes.push(element("div", {}, badge("pass", t("checks_passed", { n: passed }))));
  const failed = city.last_failed_job;
  if (failed && !failed.resolved) {
    nodes.push(
      element(
        "div",
        {},
        badge("stop", t("job_failed", { day: day(failed.day) })),
        " ",
        english(failed.error?.message ?? failed.error?.code ?? ""),
      ),
    );
  }
  return nodes.length ? nodes : [t("none")];
}

/** Return the policy, what is public, and what waits for a decision. */
export function promotionOf(city) {
  const { policy, public: last, open } = city.promotion;
  const lines = [element("div", {}, t(`policy.${policy}`))];
  if (open) {
    lines.push(
      element(
        "div",
        {},
        badge(open.verdict, t(`status.${open.status}`)),
        " ",
        t("of_day", { day: day(open.day) }),
      ),
    );
  }
  const words = last
    ? t("public_day", { day: day(last.day), places: last.places })
    : t("nothing_public");
  lines.push(element("div", { class: "quiet" }, words));
  return lines;
}

/** Return how far staging is behind today, and the public day behind staging. */
export function lag(city) {
  const pois = city.datasets.find(({ dataset }) => dataset === "poi");
  const behind = city.promotion.days_behind;
  const lines = [];
  if (pois) lines.push(element("div", {}, behindBy("lag_staged", pois.lag_days)));
  if (behind !== null) lines.push(element("div", {}, behindBy("lag_public", behind)));
  return lines.length ? lines : [t("none")];
}

const behindBy = (key, n) => (n === 0 ? t(`${key}_none`) : t(key, { n }));
