/** JSON of the API as lists that people can read. */
import { element, value } from "./dom.js";
import { day, has, moment, named, number, share, t } from "./texts.js";

const SHARES = new Set(["share", "most"]);
const DAY = /^\d{4}-\d\d-\d\d$/;
const MOMENT = /^\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)$/;

/** Return JSON as lists: names of members as words, shares in percent, texts as they are. */
export function tree(json, name = "") {
  if (json === null || json === "") return document.createTextNode(t("none"));
  if (typeof json === "boolean") return document.createTextNode(t(json ? "yes" : "no"));
  if (typeof json === "number") {
    return document.createTextNode(SHARES.has(name) ? share(json) : number(json));
  }
  if (typeof json === "string") return written(json);
  if (Array.isArray(json)) {
    if (!json.length) return document.createTextNode(t("none"));
    return element("ul", {}, ...json.map((each) => element("li", {}, tree(each))));
  }
  const rows = Object.entries(json).flatMap(([key, each]) => [
    element("dt", {}, element("bdi", {}, label(key))),
    element("dd", {}, tree(each, key)),
  ]);
  return rows.length ? element("dl", { class: "facts" }, ...rows) : document.createTextNode(t("none"));
}

function written(text) {
  if (DAY.test(text)) return document.createTextNode(day(text));
  return MOMENT.test(text) ? document.createTextNode(moment(text)) : value(text);
}

const label = (key) => named(has(`number.${key}`) ? "number" : "column", key);
