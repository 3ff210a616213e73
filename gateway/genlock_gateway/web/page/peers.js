// WHIP publisher and WHEP player. A player outlives its gateway: when neither frames nor answers come any more it
// posts again, and when the gateway says `reconnect` it makes the new connection before it leaves the old one.

import { Problem, publisherId, request } from "./api.js";
import { gathered, iceServers, restartIce } from "./ice.js";

const PING_EVERY_MS = 500;
const SILENT_AFTER_MS = 1500;
const BACK_WITHIN_MS = 1000;
// The gateway of an older connection hears within a second that there is a newer one.
const LEAVE_AFTER_MS = 2000;

/** Offer, POST, answer (RFC 9725 section 4.2). Returns the session URL that DELETE takes. */
async function negotiate(peer, path, token, headers = {}) {
  await peer.setLocalDescription(await peer.createOffer());
  await gathered(peer);
  const response = await request(path, {
    method: "POST", token, headers: { ...headers, "Content-Type": "application/sdp" }, body: peer.localDescription.sdp,
  });
  await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
  // From the next gathering on, which is that of an ICE restart.
  peer.setConfiguration({ ...peer.getConfiguration(), iceServers: iceServers(response.headers.get("Link")) });
  return response.headers.get("Location");
}

/** Whether the gateway is heard again after an ICE restart: the client's network may have changed. */
async function backByRestart(peer, resource, token, control) {
  if (!resource) return false;
  try { await restartIce(peer, resource, token); } catch { return false; }
  for (let waitedMs = 0; control.silent && waitedMs < BACK_WITHIN_MS; waitedMs += 50) {
    await new Promise((done) => setTimeout(done, 50));
  }
  return !control.silent;
}

function hangUp(peer, resource, token) {
  peer?.close();
  if (resource) request(resource, { method: "DELETE", token }).catch(() => {});
}

/** The data channel `control` of a connection: pings the gateway and remembers when it last gave a sign of life. */
class ControlChannel {
  constructor(peer, onMessage) {
    this.lastSignOfLife = performance.now();
    this.channel = peer.createDataChannel("control");
    this.channel.onmessage = (event) => {
      this.alive();
      const message = JSON.parse(event.data);
      if (message.type !== "pong") onMessage(message);
    };
    this.pinging = setInterval(() => {
      if (this.channel.readyState === "open") this.channel.send(JSON.stringify({ type: "ping", sentAt: performance.now() }));
    }, PING_EVERY_MS);
  }

  alive() { this.lastSignOfLife = performance.now(); }

  get silent() { return performance.now() - this.lastSignOfLife > SILENT_AFTER_MS; }

  close() { clearInterval(this.pinging); }
}

/** One WHEP connection. */
class Viewing {
  constructor(path, token, onMessage) {
    this.peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.token = token;
    const transceiver = this.peer.addTransceiver("video", { direction: "recvonly" });
    if ("jitterBufferTarget" in transceiver.receiver) transceiver.receiver.jitterBufferTarget = 0;
    this.control = new ControlChannel(this.peer, (message) => onMessage(message, this));
    this.stream = new MediaStream([transceiver.receiver.track]);
    this.ready = negotiate(this.peer, path, token).then((resource) => { this.resource = resource; });
  }

  get silent() { return this.control.silent; }

  backByRestart() { return backByRestart(this.peer, this.resource, this.token, this.control); }

  close() {
    this.control.close();
    hangUp(this.peer, this.resource, this.token);
  }
}

// A session that was there a moment ago and is unknown now: Redis lost its data, and gets the record back.
const UNKNOWN_FOR_MS = 15000;

/** Whether there is no use in connecting again, `beganMs` being when that began. */
function isFinal(error, beganMs) {
  if (!(error instanceof Problem)) return false;
  if (error.status === 404) return Date.now() - beganMs > UNKNOWN_FOR_MS;
  return [401, 403, 410].includes(error.status);
}

/**
 * Keeps `video` showing the session. Events: `message` (detail: JSON), `state` (detail: offering, connecting, connected,
 * playing, lost or failed).
 */
export class WhepPlayer extends EventTarget {
  constructor(video, session) {
    super();
    this.video = video;
    this.path = `/whep/${session.path}`;
    this.token = "";
    this.reconnects = 0;
    this.running = false;
  }

  async start(token) {
    this.stop();
    this.token = token;
    this.running = true;
    this.postedAt = performance.now();
    this.firstFrameMs = null;
    await this.#connect();
    this.watching = setInterval(() => this.#watch(), 250);
  }

  stop() {
    this.running = false;
    clearInterval(this.watching);
    this.current?.close();
    this.current = null;
    this.video.srcObject = null;
  }

  async #connect() {
    this.#say("offering");
    const next = new Viewing(this.path, this.token, (message, from) => this.#heard(message, from));
    try {
      await next.ready;
    } catch (error) {
      next.close();
      throw error;
    }
    this.#say("connecting");
    next.peer.addEventListener("connectionstatechange", () => {
      if (next === this.current && next.peer.connectionState === "connected" && !this.playing) this.#say("connected");
    });
    next.control.alive();
    const previous = this.current;
    this.current = next;
    if (!previous || previous.silent) {
      previous?.close();
      this.#show(next);
    } else {
      this.#takeOver(previous, next);
    }
  }

  #show(viewing) {
    this.video.srcObject = viewing.stream;
    this.video.play().catch(() => {});
    const onFrame = () => {
      viewing.control.alive();
      if (this.firstFrameMs === null) {
        this.firstFrameMs = performance.now() - this.postedAt;
        this.dispatchEvent(new CustomEvent("first-frame", { detail: this.firstFrameMs }));
      }
      if (!this.playing) { this.playing = true; this.#say("playing"); }
      if (this.current === viewing) this.video.requestVideoFrameCallback?.(onFrame);
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(onFrame);
    else this.video.addEventListener("timeupdate", onFrame);
  }

  // Make before break: the old picture stays until the new connection has decoded one.
  #takeOver(previous, next) {
    const probe = document.createElement("video");
    probe.muted = true;
    probe.playsInline = true;
    probe.srcObject = next.stream;
    probe.play().catch(() => {});
    const swap = () => { probe.srcObject = null; this.#show(next); previous.close(); };
    const limit = setTimeout(swap, 3000);
    probe.addEventListener("loadeddata", () => { clearTimeout(limit); swap(); }, { once: true });
  }

  #heard(message, from) {
    if (message.type === "reconnect" && from === this.current) this.#again(message.afterMs || 0);
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #watch() {
    const state = this.current?.peer.connectionState;
    if (!this.current || (this.current.silent && !this.retrying) || state === "failed") this.#again(0);
  }

  async #again(afterMs) {
    if (this.retrying || !this.running) return;
    this.retrying = true;
    const beganMs = Date.now();
    let waitMs = afterMs;
    if (this.current?.silent) {
      this.playing = false;
      this.#say("lost");
      if (await this.current.backByRestart()) { this.retrying = false; return; }
    }
    while (this.running) {
      await new Promise((done) => setTimeout(done, waitMs));
      try {
        await this.#connect();
        this.reconnects += 1;
        break;
      } catch (error) {
        if (isFinal(error, beganMs)) { this.#say("failed", error); this.running = false; break; }
        waitMs = Math.max(error.retryAfterS * 1000 || 0, Math.min(2000, (waitMs || 125) * 2));
      }
    }
    this.retrying = false;
  }

  #say(state, error = null) { this.dispatchEvent(new CustomEvent("state", { detail: { state, error } })); }
}

/** Publishes a MediaStream by WHIP and comes back by itself. Events: `state` (offering|connecting|publishing|lost|failed). */
export class WhipPublisher extends EventTarget {
  constructor(session) {
    super();
    this.path = `/whip/${session.path}`;
    // The gateway takes their picture until the next connection stands there, and closes them then.
    this.leaving = [];
  }

  /** `takeOver`: take the place of another publisher that is still there. */
  async start(stream, token, { takeOver = false } = {}) {
    this.stop();
    this.stream = stream;
    this.token = token;
    this.running = true;
    await this.#connect(takeOver ? "?takeover=true" : "");
    this.watching = setInterval(() => { if (this.control?.silent) this.#again(); }, 250);
  }

  stop() {
    this.running = false;
    clearInterval(this.watching);
    this.control?.close();
    this.#leave();
    hangUp(this.peer, this.resource, this.token);
    this.peer = this.resource = null;
  }

  #leave() { for (const peer of this.leaving.splice(0)) peer.close(); }

  /** Send another picture from now on, over the same connection. */
  async use(stream) {
    this.stream = stream;
    const [track] = stream.getVideoTracks();
    track.contentHint = "motion";
    await this.peer?.getSenders().find((sender) => sender.track)?.replaceTrack(track);
  }

  async #connect(query = "") {
    this.#say("offering");
    const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    const [track] = this.stream.getVideoTracks();
    track.contentHint = "motion";
    const transceiver = peer.addTransceiver(track, { direction: "sendonly", streams: [this.stream], sendEncodings: [{ maxBitrate: 2_500_000 }] });
    const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
    const order = (codec) => ({ "video/h264": 0, "video/vp8": 1 })[codec.mimeType.toLowerCase()] ?? 2;
    transceiver.setCodecPreferences?.([...codecs].sort((a, b) => order(a) - order(b)));
    const control = new ControlChannel(peer, (message) => {
      if (peer !== this.peer) return;
      if (message.type === "reconnect") this.#again({ leaving: true });
      if (message.type === "replaced") this.#giveWay(message.reason);
    });
    peer.onconnectionstatechange = () => {
      if (peer !== this.peer || !this.running) return;
      if (peer.connectionState === "connected") {
        setTimeout(() => { if (peer === this.peer) this.#leave(); }, LEAVE_AFTER_MS);
        this.#say("publishing");
      }
      if (["failed", "disconnected"].includes(peer.connectionState)) this.#again();
    };
    let resource;
    try {
      resource = await negotiate(peer, this.path + query, this.token, { "Genlock-Publisher": publisherId() });
    } catch (error) {
      control.close();
      peer.close();
      throw error;
    }
    this.#say("connecting");
    this.control?.close();
    if (this.peer) this.leaving.push(this.peer);
    this.peer = peer;
    this.control = control;
    this.resource = resource;
    control.alive();
  }

  /** Another publisher has this one's place: to come back would be a fight. */
  #giveWay(reason) {
    this.running = false;
    this.#say("failed", new Problem(409, "Conflict", reason, { reason: "replaced" }));
  }

  async #again({ leaving = false } = {}) {
    if (this.retrying || !this.running) return;
    this.retrying = true;
    this.#say("lost");
    if (!leaving && await backByRestart(this.peer, this.resource, this.token, this.control)) {
      this.retrying = false;
      if (this.running) this.#say("publishing");
      return;
    }
    const beganMs = Date.now();
    for (let waitMs = 100; this.running; waitMs = Math.min(2000, waitMs * 2)) {
      try { await this.#connect(); break; } catch (error) {
        if (isFinal(error, beganMs) || error.status === 409) { this.running = false; this.#say("failed", error); break; }
        await new Promise((done) => setTimeout(done, Math.max(waitMs, (error.retryAfterS || 0) * 1000)));
      }
    }
    this.retrying = false;
  }

  #say(state, error = null) { this.dispatchEvent(new CustomEvent("state", { detail: { state, error } })); }
}
