/** The gates of a promotion: verdict, sentence and numbers. */
import { badge, element, english, text } from "./dom.js";
import { has, named, t } from "./texts.js";
import { tree } from "./tree.js";

const ORDER = ["stop", "review", "pass"];

/** Return the gates, the most severe first; those that passed are folded. */
export function gatesList(gates) {
  const sorted = gates.toSorted((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict));
  const passed = sorted.filter((each) => each.verdict === "pass");
  const others = sorted.filter((each) => each.verdict !== "pass");
  const folded = element(
    "details",
    { id: "passed-gates" },
    text("summary", "gates_passed", { n: passed.length }),
    listOf(passed),
  );
  return element("div", {}, listOf(others), passed.length ? folded : "");
}

const listOf = (gates) => element("ul", { class: "gates" }, ...gates.map(gate));

function gate({ name, verdict, numbers, sentence }) {
  const about = `gate_about.${name}`;
  return element(
    "li",
    { "data-gate": name },
    badge(verdict, t(`verdict.${verdict}`)),
    " ",
    element("strong", {}, named("gate", name)),
    element("p", {}, english(sentence)),
    element(
      "details",
      {},
      text("summary", "numbers"),
      has(about) ? text("p", about, {}, { class: "quiet" }) : "",
      tree(numbers),
    ),
  );
}
