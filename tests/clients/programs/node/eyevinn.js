// Eyevinn's WHIP client and WebRTC player as their READMEs show them, in a page: eyevinn.html?way=publish|watch&url=...
// esbuild makes a bundle of it for the page.
import { WebRTCPlayer } from "@eyevinn/webrtc-player";
import player from "@eyevinn/webrtc-player/package.json";
import { WHIPClient } from "@eyevinn/whip-web-client";
import whip from "@eyevinn/whip-web-client/package.json";

import { leave, look, report, tellOffer } from "../web/report.js";

const asked = new URLSearchParams(location.search);

async function publish(url) {
  const client = new WHIPClient({ endpoint: url, opts: {} });
  await client.setIceServersFromEndpoint();
  await client.ingest(await navigator.mediaDevices.getUserMedia({ video: true, audio: true }));
  await leave();
  await client.destroy();
}

async function watch(url) {
  const video = document.getElementById("video");
  look(video);
  const shown = new WebRTCPlayer({ video, type: "whep" });
  await shown.load(new URL(url));
  await leave();
  await shown.destroy();
}

async function run() {
  const library = asked.get("way") === "publish" ? whip : player;
  await report({ event: "version", version: `${library.name} ${library.version}` });
  tellOffer(asked.get("url"));
  await (asked.get("way") === "publish" ? publish : watch)(asked.get("url"));
  await report({ event: "left" });
}

run().catch((error) => report({ event: "failed", why: String(error) }));
