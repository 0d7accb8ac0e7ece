/** The view that asks for the token; nothing else is shown before it is accepted. */
import { Problem, signIn } from "./api.js";
import { alert, element, text } from "./dom.js";
import { t } from "./texts.js";

/** Return the form; `reason` is the key of a message that says why it is shown again. */
export function signInView({ reason, onSignedIn }) {
  const input = element("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: "",
    "aria-describedby": "token-problem token-about",
  });
  const problem = element("p", { id: "token-problem", class: "problem", role: "alert" });
  const submit = text("button", "sign_in", {}, { type: "submit" });
  const form = element(
    "form",
    { id: "sign-in", novalidate: "" },
    text("h1", "title", {}, { tabindex: "-1" }),
    text("label", "token", {}, { for: "token" }),
    input,
    problem,
    submit,
    text("p", "token_about", {}, { id: "token-about", class: "quiet" }),
  );
  const say = (key) => {
    problem.textContent = key ? t(key) : "";
    input.setAttribute("aria-invalid", String(Boolean(key)));
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = input.value;
    input.value = "";
    alert();
    if (!given.trim()) {
      say("token_empty");
      input.focus();
      return;
    }
    say(null);
    submit.disabled = true;
    try {
      await onSignedIn(await signIn(given));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.isOfToken) say("token_wrong");
      else alert(error);
      input.focus();
    } finally {
      submit.disabled = false;
    }
  });
  if (reason) say(reason);
  return form;
}
