// ICE as WHIP and WHEP have it (RFC 9725, 4.3 and 4.6): another way for a connection whose network changed, under the
// same session, and the STUN and TURN servers that an answer names.

import { request } from "./api.js";

const GATHER_AT_MOST_MS = 1000;
const ANSWERED_WITHIN_MS = 600;
const OF_ICE = /^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)\b/;

export async function gathered(peer) {
  if (peer.iceGatheringState === "complete") return;
  await new Promise((done) => {
    const timer = setTimeout(done, GATHER_AT_MOST_MS);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState === "complete") { clearTimeout(timer); done(); }
    });
  });
}

/** The servers in `Link` headers, as RTCPeerConnection takes them. */
export function iceServers(link) {
  return [...(link ?? "").matchAll(/<((?:stun|turn)s?:[^>]+)>([^<]*)/g)].map(([, urls, rest]) => {
    const [username, credential] = ["username", "credential"].map((name) => rest.match(`[; ]${name}="([^"]*)"`)?.[1]);
    return username === undefined ? { urls } : { urls, username, credential };
  });
}

/** Restarts ICE. Throws where the gateway takes no part in it; the connection is then of no more use. */
export async function restartIce(peer, resource, token) {
  await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }));
  await gathered(peer);
  const answer = await request(resource, {
    method: "PATCH",
    token,
    headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" },
    body: fragmentOf(peer.localDescription.sdp),
    signal: AbortSignal.timeout(ANSWERED_WITHIN_MS),
  });
  const sdp = withIceOf(peer.currentRemoteDescription.sdp, await answer.text());
  await peer.setRemoteDescription({ type: "answer", sdp });
}

/** Credentials and candidates of the first section, which speaks for all (RFC 8840, 9). */
function fragmentOf(sdp) {
  const [, first] = sdp.split(/^(?=m=)/m);
  return first.split("\r\n").filter((line, index) => index === 0 || OF_ICE.test(line) || line.startsWith("a=mid:")).join("\r\n") + "\r\n";
}

/** An answer with the ICE lines of a fragment in place of its own. */
function withIceOf(answer, fragment) {
  const ice = fragment.split("\r\n").filter((line) => OF_ICE.test(line));
  return answer.split(/^(?=m=)/m).map((section) => {
    const others = section.split("\r\n").filter((line) => line && !OF_ICE.test(line));
    const used = section.startsWith("m=") && !/^m=\S+ 0 /.test(section);
    return [...others, ...(used ? ice : []), ""].join("\r\n");
  }).join("");
}
