/**
 * Requests to the admin API.
 *
 * The token is in this variable alone: not in a storage, a cookie, an address, or the document. It
 * is gone when the tab is closed or loaded again.
 */
let token = null;

const API = new URL("../v1/", document.baseURI);

/** An answer of the API that is a problem (RFC 9457), or no answer at all (status 0). */
export class Problem extends Error {
  constructor({ status, code, detail = "", errors = [] }) {
    super(detail || code);
    Object.assign(this, { status, code, detail, errors });
  }

  /** Whether the token is missing or wrong. */
  get isOfToken() {
    return this.status === 401 || this.code === "token_wrong";
  }
}

export const isSignedIn = () => token !== null;

/** Keep a token if the API accepts it. */
export async function signIn(text) {
  // A header holds bytes: those of the text in UTF-8, each as one character.
  const given = String.fromCharCode(...new TextEncoder().encode(text.trim()));
  const settings = await request("admin/review/settings", {}, given);
  token = given;
  return settings;
}

export function signOut() {
  token = null;
}

export const get = (path, options) => request(path, options);

export const post = (path, body) =>
  request(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
  });

async function request(path, { query = {}, headers = {}, ...options } = {}, given = token) {
  const url = new URL(path, API);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  let answer;
  try {
    answer = await fetch(url, {
      ...options,
      headers: { ...headers, Accept: "application/json", "X-Admin-Token": given },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ status: 0, code: "unreachable" });
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    const problem = new Problem({ code: "no_problem", ...body, status: answer.status });
    if (problem.isOfToken && given === token) signOut();
    throw problem;
  }
  return body;
}
