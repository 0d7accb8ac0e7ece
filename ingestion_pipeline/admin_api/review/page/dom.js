/** Small parts that all views of the page are made of. */
import { element, linked } from "./map/values.js";
import { has, t } from "./texts.js";

const LONG = 300;

export { element };
export const byId = (id) => document.getElementById(id);

/** Make a heading, a paragraph and the like with the text of a message. */
export const text = (name, key, values, attributes = {}) =>
  element(name, attributes, t(key, values));

/** Make a button with the text of a message. */
export function button(key, onClick, attributes = {}) {
  const made = text("button", key, {}, { type: "button", ...attributes });
  made.addEventListener("click", onClick);
  return made;
}

/** Make a text of the data: apart from the direction of the page, and shortened if it is long. */
export function value(content) {
  const whole = String(content);
  if (whole.length <= LONG) return linked(whole);
  const short = element("bdi", {}, `${whole.slice(0, LONG)}…`);
  const all = text("button", "show_all", { n: whole.length }, { type: "button", class: "small" });
  all.addEventListener("click", () => {
    const shown = element("bdi", { tabindex: "-1" }, whole);
    box.replaceChildren(shown);
    shown.focus();
  });
  const box = element("span", {}, short, " ", all);
  return box;
}

/** Make a text of the API, which writes English. */
export const english = (content) => element("span", { lang: "en", dir: "auto" }, content);

/** Make a list of terms and descriptions; `rows` are pairs of a message's key and nodes. */
export function facts(rows) {
  const parts = rows.flatMap(([key, ...nodes]) => [
    text("dt", key),
    element("dd", {}, ...nodes),
  ]);
  return element("dl", { class: "facts" }, ...parts);
}

/** Make a mark with a word, which has a sign besides its colour. */
export const badge = (kind, ...words) => element("span", { class: `badge ${kind}` }, ...words);

/** Announce a message to people who do not see the page change. */
export function announce(words) {
  byId("status").textContent = words;
}

/** Return what went wrong and what to do: in the page's language, and in the API's words. */
export function problemLines(problem) {
  const key = has(`problem.${problem.code}`) ? problem.code : "other";
  const more = [problem.detail, ...problem.errors.map((each) => `${each.field}: ${each.message}`)];
  return [
    text("p", `problem.${key}`, { code: problem.code, status: String(problem.status) }),
    ...more.filter(Boolean).map((each) => element("p", {}, english(each))),
  ];
}

/** Show a problem above everything, until it is closed or another view is shown. */
export function alert(problem = null) {
  const box = byId("alert");
  box.replaceChildren();
  if (!problem) return;
  box.append(...problemLines(problem), button("close", () => alert()));
  box.scrollIntoView({ block: "nearest" });
}
