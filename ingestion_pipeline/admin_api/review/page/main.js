/** The page: signs in, and shows the view of the address. */
import { Problem, isSignedIn, signOut } from "./api.js";
import { citiesView } from "./cities.js";
import { CityView } from "./city.js";
import { alert, byId, element } from "./dom.js";
import { isSameView, parse } from "./routes.js";
import { signInView } from "./sign_in.js";
import { LANGUAGES, current, preferred, t, translate, use } from "./texts.js";

let settings = null;
let shown = null;
let loading = null;

await use(preferred());
makeLanguages();
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
byId("sign-out").addEventListener("click", () => {
  signOut();
  show();
});
addEventListener("hashchange", () => show());
addEventListener("unhandledrejection", (event) => {
  if (event.reason instanceof Problem) {
    event.preventDefault();
    failed(event.reason);
  }
});
await show();

/** Show what the address says; a place of the view that is shown already is opened in it. */
async function show({ reason, again = false } = {}) {
  const route = parse(location.hash);
  if (!again && isSignedIn() && shown?.route && isSameView(shown.route, route)) {
    shown.open(route);
    return;
  }
  leave();
  translate();
  byId("sign-out").hidden = !isSignedIn();
  if (!isSignedIn()) {
    settings = null;
    render(t("title"), signInView({ reason, onSignedIn }));
    byId("main").querySelector("input").focus();
    return;
  }
  await load(route);
}

/** End what is shown or loaded now. */
function leave() {
  loading?.abort();
  shown?.close?.();
  shown = null;
  alert();
}

async function load(route) {
  const mine = new AbortController();
  loading = mine;
  byId("main").setAttribute("aria-busy", "true");
  try {
    const context = { settings, signal: mine.signal, reload: () => show({ again: true }), failed };
    if (route.city) {
      const view = await CityView.load(route, context);
      render(view.title, view.root);
      shown = view;
      view.start();
    } else {
      render(t("cities"), await citiesView(context));
    }
    byId("main").querySelector("h1").focus({ preventScroll: true });
    document.documentElement.dataset.state = "ready";
  } catch (error) {
    if (loading === mine && error.name !== "AbortError") failed(error);
  } finally {
    if (loading === mine) byId("main").removeAttribute("aria-busy");
  }
}

function render(title, ...nodes) {
  document.title = title === t("title") ? title : `${title} · ${t("title")}`;
  byId("main").replaceChildren(...nodes);
  scrollTo(0, 0);
}

/** Show what went wrong; without a good token, ask for one. */
function failed(error) {
  if (!(error instanceof Problem)) throw error;
  if (error.isOfToken) show({ reason: "token_expired" });
  else alert(error);
}

function onSignedIn(found) {
  settings = found;
  return show();
}

function makeLanguages() {
  for (const [code, name] of Object.entries(LANGUAGES)) {
    const choose = element("button", { type: "button", lang: code }, name);
    choose.setAttribute("aria-pressed", String(code === current()));
    choose.addEventListener("click", async () => {
      await use(code);
      for (const each of byId("languages").children) {
        each.setAttribute("aria-pressed", String(each.lang === code));
      }
      await show({ again: true });
      choose.focus();
    });
    byId("languages").append(choose);
  }
}
