// What is going on: what the gateway says of the session, and what only this page knows, told by the one table.
//
// The table (/situations.js) is the gateway's own: states in order, the strongest first, each with its words.

import { SITUATIONS } from "/situations.js";

const ROWS = new Map(SITUATIONS.states.map((row, strength) => [row.state, { ...row, strength }]));
const PUBLISHERS = new Set(SITUATIONS.publishers);

const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

/** Fires `change` whenever what is told may be another thing. */
export class Situation extends EventTarget {
  /**
   * @param values words that the table's rows leave open: {session}.
   * @param toViewers this page only shows the picture: nobody is told to do here what their token would allow elsewhere.
   */
  constructor(values, { toViewers = false } = {}) {
    super();
    this.values = values;
    this.toViewers = toViewers;
    this.role = "view";
    this.session = null;
    this.here = new Map();
  }

  /** @param view what the gateway says: a SessionView. */
  hear(view) {
    const row = ROWS.get(view.state);
    this.role = view.role ?? this.role;
    // A gateway of a later release may have a state that this page does not know.
    this.session = { state: view.state, strength: row?.strength ?? ROWS.size, ...view.situation };
    // Words that the gateway has filled in stay as they are.
    if (this.toViewers && row && !row.toViewers.includes("{")) this.session.detail = row.toViewers;
    this.#changed();
  }

  /** This page finds itself in a state of its own, until `leave`. */
  enter(state, values = {}) {
    this.here.set(state, { ...this.values, ...values });
    this.#changed();
  }

  leave(...states) {
    const left = states.map((state) => this.here.delete(state));
    if (left.includes(true)) this.#changed();
  }

  holds(state) { return this.here.has(state); }

  /** Every state of this page that holds, in words; the strongest first. */
  get atPage() {
    return [...this.here].map(([state, values]) => this.#inWords(ROWS.get(state), values)).sort((one, other) => one.strength - other.strength);
  }

  /** The strongest of all, null as long as nothing is known. */
  get now() {
    const [page] = this.atPage;
    if (!page || !this.session) return page ?? this.session;
    return page.strength < this.session.strength ? page : this.session;
  }

  #inWords(row, values) {
    const viewer = this.role === "view";
    return {
      state: row.state,
      strength: row.strength,
      tone: row.tone,
      headline: filled(row.headline, values),
      detail: filled(viewer ? row.toViewers : row.detail, values),
      offers: viewer ? forViewers(row.offers) : row.offers,
    };
  }

  #changed() { this.dispatchEvent(new Event("change")); }
}

/** Who may not publish learns whom to ask. */
function forViewers(offers) {
  const allowed = offers.filter((offer) => !PUBLISHERS.has(offer));
  return allowed.length < offers.length ? ["get-publisher-link", ...allowed] : allowed;
}

/** Buttons for what is offered, as far as this page has an act for it: {offer: function}. */
export function offerButtons(offers, acts) {
  return offers.filter((offer) => acts[offer]).map((offer) => {
    const button = Object.assign(document.createElement("button"), { className: "button small", type: "button", textContent: SITUATIONS.offers[offer] });
    button.dataset.offer = offer;
    button.addEventListener("click", acts[offer]);
    return button;
  });
}

/** How far a connection has come: offer, network, picture. */
export const progressWords = (step) => SITUATIONS.progress[step];

export const engineWords = (engine) => SITUATIONS.engines[engine] ?? "";

/** The page's state that a refusal of the gateway stands for; null for any other error. */
export function stateOf(error) {
  if (error.status === 503 && ["no-capacity", "overloaded"].includes(error.reason)) return null;
  return { 0: "gateway-away", 401: "token-needed", 403: "token-refused", 404: "missing", 409: "somebody-publishes", 503: "gateway-full" }[error.status] ?? null;
}
