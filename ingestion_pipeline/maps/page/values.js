/**
 * Values of places as elements of a page.
 *
 * Every text of the data gets into a page by `textContent`, and never as markup.
 */

/** Make an element with attributes and children; texts among them stay texts. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Return the words of a column's name. */
export const heading = (name) => name.replaceAll("_", " ");

/** Return whether a value says nothing. */
export const isEmpty = (value) =>
  value === null || value === "" ||
  (typeof value === "object" && Object.keys(value).length === 0);

/** Return a value as text; objects and lists as lines. `leaf` makes the element of one text. */
export function content(value, leaf = linked) {
  const box = element("div", { dir: "auto" });
  if (value === null) return box;
  if (typeof value !== "object") {
    box.append(leaf(String(value)));
  } else if (Array.isArray(value)) {
    for (const each of value) box.append(content(each, leaf));
  } else {
    for (const [key, each] of Object.entries(value)) {
      const inner = Array.isArray(each) ? each : [each];
      const line = element("div", {}, element("bdi", {}, key), ": ");
      inner.forEach((part, place) => {
        if (place) line.append(", ");
        line.append(leaf(typeof part === "object" ? JSON.stringify(part) : String(part)));
      });
      box.append(line);
    }
  }
  return box;
}

/** Return a text; as a link where all of it is the URL of a web page. */
export function linked(text) {
  if (!/^https?:\/\/\S+$/.test(text) || !URL.canParse(text)) return element("bdi", {}, text);
  return element("a", { href: text, rel: "noreferrer nofollow" }, element("bdi", {}, text));
}

/** Return a link to a feature in OpenStreetMap; null for what is not of OpenStreetMap. */
export function osmLink(ref, text) {
  const [, type, id] = /^(node|way|relation)\/(\d+)/.exec(ref) ?? [];
  if (!type) return null;
  const href = `https://www.openstreetmap.org/${type}/${id}`;
  return element("a", { href, rel: "noreferrer" }, text);
}
