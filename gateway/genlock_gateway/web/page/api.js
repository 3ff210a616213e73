// The gateway's HTTP interface as the pages use it: session address, access token, problem-details errors.

/** An error that the gateway explained (RFC 9457), or `status` 0 when it could not be reached. */
export class Problem extends Error {
  constructor(status, title, detail, { reason = "", retryAfterS = 0, tokenNeeded = true } = {}) {
    super(detail || title);
    Object.assign(this, { status, title, detail, reason, retryAfterS, tokenNeeded });
  }
}

/** `{namespace, name}` from `/studio/default/demo` or `/watch/default/demo`. */
export function sessionFromLocation() {
  const [, , namespace, name] = location.pathname.split("/").map(decodeURIComponent);
  return { namespace, name, path: `${encodeURIComponent(namespace)}/${encodeURIComponent(name)}` };
}

const tokenSlot = (session) => `genlock-token:${session.path}`;

/** The token after `#token=` wins and is kept for this tab; the fragment never reaches a server. */
export function readToken(session) {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) sessionStorage.setItem(tokenSlot(session), given);
  return given || sessionStorage.getItem(tokenSlot(session)) || "";
}

/** Puts `token` ("" for none) in the place of every other one that this tab knows, the one in its address too. */
export function keepToken(session, token) {
  if (token) sessionStorage.setItem(tokenSlot(session), token);
  else sessionStorage.removeItem(tokenSlot(session));
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
}

/** Whether the gateway wants a token, or refuses the one it was given. */
export const isAboutToken = (error) => error.status === 401 || error.status === 403;

/** A random name of this browser as a publisher: the same name may take its own session over. */
export function publisherId() {
  let id = localStorage.getItem("genlock-publisher");
  if (!id) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem("genlock-publisher", id);
  }
  return id;
}

/** fetch with the bearer token; anything but 2xx becomes a Problem. */
export async function request(path, { method = "GET", token = "", headers = {}, body, signal } = {}) {
  const all = { ...headers };
  if (token) all.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { method, headers: all, body, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "Gateway out of reach", "The gateway does not answer. Is it running?");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const detail = [problem.detail, ...(problem.errors ?? []).map(({ path, message }) => `${path}: ${message}`)].filter(Boolean).join("; ");
  const retryAfterS = Number(response.headers.get("Retry-After")) || 0;
  throw new Problem(response.status, problem.title || response.statusText, detail, { reason: problem.reason, retryAfterS, tokenNeeded: problem.tokenNeeded });
}

export const getSession = async (session, token) => (await request(`/api/v1/sessions/${session.path}`, { token })).json();

export const listSessions = async (token = "") => (await request("/api/v1/sessions", { token })).json();

/** Brings an ended session back; the view of the one that runs then. */
export const startAgain = async (session, token) => (await request(`/api/v1/sessions/${session.path}/start`, { method: "POST", token })).json();

/** Changes the picture; what of the steps that it asks for is granted. */
export async function control(session, token, change) {
  const response = await request(`/api/v1/sessions/${session.path}/control`, {
    method: "PATCH",
    token,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(change),
  });
  return response.json();
}
