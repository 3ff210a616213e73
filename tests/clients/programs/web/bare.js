// WHIP (RFC 9725) and WHEP in a page of one's own, without any library: bare.html?way=publish|watch&url=...&token=...
// `source` says what it publishes: camera, or canvas where the browser has no camera without being asked.
import { card, leave, look, report, unixMs } from "./report.js";

const asked = new URLSearchParams(location.search);
const headers = { "Content-Type": "application/sdp" };
if (asked.get("token")) headers.Authorization = `Bearer ${asked.get("token")}`;
const video = document.getElementById("video");

async function stream() {
  if (asked.get("source") === "canvas") return card().captureStream(30);
  return navigator.mediaDevices.getUserMedia({ video: true });
}

async function connect(connection) {
  await connection.setLocalDescription();
  const url = asked.get("url");
  // Nothing here waits for a report: it would count as time of the client.
  report({ event: "offer", unixMs: unixMs() });
  const response = await fetch(url, { method: "POST", headers, body: connection.localDescription.sdp });
  const sdp = await response.text();
  report({ event: "answer", status: response.status, sdp });
  if (response.status !== 201) throw new Error(`${response.status} ${sdp}`);
  await connection.setRemoteDescription({ type: "answer", sdp });
  return new URL(response.headers.get("Location"), url);
}

async function run() {
  const connection = new RTCPeerConnection();
  connection.onconnectionstatechange = () => {
    if (connection.connectionState === "failed") report({ event: "failed", why: "ICE or DTLS failed" });
  };
  if (asked.get("way") === "publish") {
    for (const track of (await stream()).getTracks()) connection.addTransceiver(track, { direction: "sendonly" });
  } else {
    connection.addTransceiver("video", { direction: "recvonly" });
    connection.ontrack = ({ track }) => { video.srcObject = new MediaStream([track]); };
    look(video);
  }
  const resource = await connect(connection);
  await leave();
  await fetch(resource, { method: "DELETE", headers });
  connection.close();
  await report({ event: "left" });
}

run().catch((error) => report({ event: "failed", why: String(error) }));
