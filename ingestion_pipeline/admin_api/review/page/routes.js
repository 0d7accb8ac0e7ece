/**
 * The addresses of the page: the part behind `#`, which no server sees and which has no secret.
 *
 *     #                                              the cities
 *     #city/kazan                                    a city: its proposal, or what is public
 *     #city/kazan/promotion/7a0d…                    a promotion
 *     #city/kazan/days/2026-11-19/2026-11-20         two days
 *     #city/kazan/…/place/12                         and a place of them in full
 */

/** Return what an address shows; an address that is not understood shows the cities. */
export function parse(hash) {
  let parts;
  try {
    parts = hash.replace(/^#/, "").split("/").map(decodeURIComponent);
  } catch {
    return {};
  }
  const [word, city, ...rest] = parts;
  if (word !== "city" || !city) return {};
  const route = { city };
  while (rest.length) {
    const name = rest.shift();
    if (name === "promotion") route.promotion = rest.shift();
    else if (name === "days") route.days = [rest.shift(), rest.shift()];
    else if (name === "place") route.place = rest.shift();
    else return {};
  }
  return Object.values(route).flat().includes(undefined) ? {} : route;
}

/** Return the address of what `parse` returns. */
export function format({ city, promotion, days, place }) {
  if (!city) return "#";
  const parts = ["city", city];
  if (promotion) parts.push("promotion", promotion);
  if (days) parts.push("days", ...days);
  if (place !== undefined) parts.push("place", place);
  return `#${parts.map(encodeURIComponent).join("/")}`;
}

/** Return whether two addresses show the same comparison, whatever place of it. */
export const isSameView = (one, other) =>
  format({ ...one, place: undefined }) === format({ ...other, place: undefined });
