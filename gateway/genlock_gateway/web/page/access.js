// The token of a session: asked for when the gateway wants one or refuses the one that it was given.

import { isAboutToken, keepToken, readToken } from "./api.js";

const $ = (id) => document.getElementById(id);

/** The access that this page has; fires `change` when the person has chosen another token. */
export class Access extends EventTarget {
  constructor(session) {
    super();
    this.session = session;
    this.token = readToken(session);
    this.asking = null;
    for (const button of $("token-dialog").querySelectorAll("[data-answer]")) button.addEventListener("click", () => $("token-dialog").close(button.dataset.answer));
  }

  use(token) {
    this.token = token;
    keepToken(this.session, token);
    this.dispatchEvent(new Event("change"));
  }

  /** Runs `act`; when the gateway refuses the token, or wants one, asks what to do and runs it again. */
  async with(act, role) {
    for (;;) {
      try {
        return await act(this.token);
      } catch (error) {
        if (!isAboutToken(error) || !await this.askFor(error, role)) throw error;
      }
    }
  }

  /** Says why the gateway refuses, and asks what to do; resolves to whether the person chose how to go on. */
  askFor(error, role) {
    const title = error.status === 403 ? "This token is refused" : "This session needs a token";
    // The player and the publisher may be refused at once; the person is asked once.
    this.asking ??= this.ask(title, refusalWords(error), { role, optional: error.tokenNeeded === false }).finally(() => { this.asking = null; });
    return this.asking;
  }

  /** Asks for a token; resolves to whether the person chose how to go on. */
  ask(title, why, { role, optional }) {
    const dialog = $("token-dialog");
    if (dialog.open) return Promise.resolve(false);
    $("token-title").textContent = title;
    $("token-why").textContent = why;
    $("token-without").hidden = !optional;
    $("token-command").textContent = `genlock session token ${this.session.namespace}/${this.session.name} --role ${role}`;
    $("token").value = "";
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((done) => {
      dialog.addEventListener("close", () => {
        if (dialog.returnValue === "ok") this.use($("token").value.trim());
        if (dialog.returnValue === "without") this.use("");
        done(["ok", "without"].includes(dialog.returnValue));
      }, { once: true });
    });
  }
}

/** Why the gateway refuses, for people who have a page before them and no command line. */
function refusalWords(problem) {
  if (problem.status === 401) return `${problem.message}.`;
  const why = "It was not issued by this installation, is no longer valid, or is for another session or role.";
  return problem.tokenNeeded ? why : `${why} You need none here: go on without it.`;
}
