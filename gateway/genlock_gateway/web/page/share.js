// A link to watch the session, for somebody else.

import { request } from "./api.js";
import { say, solve } from "./messages.js";

/**
 * Copies the link, with a token of its own where watching takes one; shows it where the browser lets nobody copy.
 * @param button says that it is done; @param view the session as the gateway tells it.
 */
export async function copyViewerLink(button, { session, view, token }) {
  solve("share");
  let link;
  try {
    link = location.origin + (view.access.view === "Public" ? view.endpoints.watch : await privateLink(session, token));
  } catch (error) {
    say("share", "There is no link to give", ` ${error.message}`, { tone: "bad" });
    return;
  }
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    say("share", "Viewer link", ` ${link}`);
    return;
  }
  const words = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = words; }, 1500);
}

async function privateLink(session, token) {
  const response = await request(`/api/v1/sessions/${session.path}/viewer-links`, {
    method: "POST", token, headers: { "Content-Type": "application/json" }, body: "{}",
  });
  return (await response.json()).path;
}
