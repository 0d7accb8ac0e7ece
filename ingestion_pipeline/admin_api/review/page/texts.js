/**
 * The words of the page in English and Russian, and numbers and dates as each language writes them.
 *
 * `messages.en.json` and `messages.ru.json` have the same keys. A message that depends on a number
 * is an object with a text for each plural form of the language.
 */
export const LANGUAGES = { en: "English", ru: "Русский" };

let language;
let messages;
let format;

/** Return the first language of the browser that the page has. */
export function preferred() {
  const wanted = navigator.languages.map((each) => each.split("-")[0]);
  return wanted.find((each) => each in LANGUAGES) ?? "en";
}

/** Use a language from now on. */
export async function use(code) {
  const answer = await fetch(new URL(`messages.${code}.json`, import.meta.url));
  messages = await answer.json();
  language = code;
  const utc = { timeZone: "UTC" };
  format = {
    number: new Intl.NumberFormat(code),
    share: new Intl.NumberFormat(code, { style: "percent", maximumFractionDigits: 1 }),
    day: new Intl.DateTimeFormat(code, { dateStyle: "medium", ...utc }),
    moment: new Intl.DateTimeFormat(code, { dateStyle: "medium", timeStyle: "short", ...utc }),
    plural: new Intl.PluralRules(code),
  };
  document.documentElement.lang = code;
}

export const current = () => language;
export const number = (value) => format.number.format(value);
export const share = (value) => format.share.format(value);

/** Return a day `2026-11-20` for people. */
export const day = (text) => format.day.format(new Date(`${text}T00:00:00Z`));

/** Return a moment for people, in UTC. */
export const moment = (text) => `${format.moment.format(new Date(text))} UTC`;

/** Return whether there is a message. */
export const has = (key) => key in messages;

/** Return a message; `{name}` in it is a value, apart from the direction of the text around it. */
export function t(key, values = {}) {
  let text = messages[key];
  if (typeof text === "object") text = text[format.plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : `\u2068${value}\u2069`;
  });
}

/** Return the words for a name of the data, such as a column; the name itself without a message. */
export const named = (group, name) =>
  has(`${group}.${name}`) ? messages[`${group}.${name}`] : name.replaceAll("_", " ");

/** Put the words into the elements of the document that name a message. */
export function translate(root = document) {
  for (const each of root.querySelectorAll("[data-t]")) each.textContent = t(each.dataset.t);
  for (const each of root.querySelectorAll("[data-t-label]")) {
    each.setAttribute("aria-label", t(each.dataset.tLabel));
  }
}
