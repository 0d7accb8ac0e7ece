/** Decisions: what can be decided of a promotion, and the dialog that asks who and why. */
import { Problem, post } from "./api.js";
import { button, element, problemLines, text } from "./dom.js";
import { day, t } from "./texts.js";

const POSSIBLE = { PROPOSED: ["approve", "reject"], PROMOTED: ["revert"] };
const LONGEST = 2000;

/** Who decided last in this tab; asked for once. */
let person = "";

/** Return the buttons of what can be decided of a promotion. */
export function decisionButtons(promotion, city, onDecided) {
  const kinds = POSSIBLE[promotion.status] ?? [];
  const buttons = kinds.map((kind) =>
    button(`decide.${kind}`, () => ask(kind, promotion, city, onDecided), {
      class: `decide ${kind}`,
      "aria-haspopup": "dialog",
    }));
  return element("div", { class: "bar decisions" }, ...buttons);
}

/** Open the dialog; `onDecided` gets the answer, or the problem where another has decided. */
function ask(kind, promotion, city, onDecided) {
  const who = element("input", {
    id: "who", name: "who", required: "", maxlength: LONGEST, autocomplete: "off", dir: "auto",
  });
  who.value = person;
  const why = element("textarea", {
    id: "why", name: "why", required: "", maxlength: LONGEST, rows: "4", dir: "auto",
  });
  const problem = element("div", { class: "problem", role: "alert" });
  const confirm = text("button", `confirm.${kind}`, {}, { type: "submit", class: "decide" });
  const cancel = button("cancel", () => dialog.close());
  const form = element(
    "form",
    { novalidate: "" },
    text("h2", `decide_title.${kind}`, { city, day: day(promotion.day) }, { id: "dialog-title" }),
    text("p", `decide_about.${kind}`, {}, { id: "dialog-about" }),
    text("label", "who", {}, { for: "who" }),
    who,
    text("label", "why", {}, { for: "why" }),
    why,
    problem,
    element("div", { class: "bar" }, confirm, cancel),
  );
  const dialog = element(
    "dialog",
    { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-about" },
    form,
  );
  const busy = (on) => {
    form.setAttribute("aria-busy", String(on));
    for (const each of [confirm, cancel, who, why]) each.disabled = on;
    confirm.textContent = t(on ? "sending" : `confirm.${kind}`);
  };
  dialog.addEventListener("cancel", (event) => {
    // While the answer is awaited, what was sent cannot be taken back.
    if (confirm.disabled) event.preventDefault();
  });
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("input", ({ target }) => {
    target.removeAttribute("aria-invalid");
    problem.replaceChildren();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.replaceChildren();
    const empty = [who, why].find((field) => !field.value.trim());
    for (const field of [who, why]) field.setAttribute("aria-invalid", String(!field.value.trim()));
    if (empty) {
      problem.append(text("p", `empty.${empty.id}`));
      empty.focus();
      return;
    }
    person = who.value.trim();
    busy(true);
    try {
      const path = `admin/promotions/${promotion.promotion_id}/${kind}`;
      const answer = await post(path, { who: person, reason: why.value.trim() });
      dialog.close();
      onDecided(answer, null);
    } catch (error) {
      busy(false);
      if (!(error instanceof Problem)) throw error;
      if (error.status === 409 || error.isOfToken) {
        dialog.close();
        onDecided(null, error);
        return;
      }
      problem.append(...problemLines(error));
      confirm.focus();
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  (person ? why : who).focus();
}
