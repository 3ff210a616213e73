// A WHIP publisher and a WHEP viewer on werift: `publish URL PORT`, or `watch URL FOLDER`.
//
// What it publishes comes as RTP on a local UDP port, as werift's own examples take it from ffmpeg or GStreamer; what it
// watches is kept by its own H264 depacketiser. It tells what it does in lines of JSON, and leaves when its input ends.
import { createSocket } from "node:dgram";
import { createWriteStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { H264RtpPayload, MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } from "werift";

const FRAMES_WANTED = 32;
const IDR = 5;
const [way, endpoint, where] = process.argv.slice(2);

const tell = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
const unixMs = () => performance.timeOrigin + performance.now();

function version() {
  const file = new URL("node_modules/werift/package.json", import.meta.url);
  return `werift ${JSON.parse(readFileSync(file, "utf8")).version}, Node.js ${process.version}`;
}

/** Send what comes on the UDP port as the connection's track. */
function publish(connection) {
  const track = new MediaStreamTrack({ kind: "video" });
  const socket = createSocket("udp4");
  socket.on("message", (packet) => track.writeRtp(packet));
  socket.bind(Number(where), "127.0.0.1");
  connection.addTransceiver(track, { direction: "sendonly" });
}

/** Keep the H264 that comes from its first key frame on, and tell when there is enough. */
function watch(connection) {
  const file = createWriteStream(join(where, "received.h264"));
  const transceiver = connection.addTransceiver("video", { direction: "recvonly" });
  let frames = 0;
  let began = false;
  let fragment;

  const receive = (rtp) => {
    if (frames >= FRAMES_WANTED) return;
    const payload = H264RtpPayload.deSerialize(rtp.payload, fragment);
    fragment = payload.fragment;
    if (!payload.payload) return;
    began ||= payload.isKeyframe;
    if (!began) return;
    file.write(payload.payload);
    if (!rtp.header.marker) return;
    if (frames === 0) tell("first-frame", { unixMs: unixMs() });
    frames += 1;
    if (frames === FRAMES_WANTED) file.end(() => tell("watched", { frames }));
  };

  transceiver.onTrack.subscribe((track) => {
    track.onReceiveRtp.once((rtp) => transceiver.receiver.sendRtcpPLI(rtp.header.ssrc));
    track.onReceiveRtp.subscribe(receive);
  });
}

async function post(sdp) {
  tell("offer", { unixMs: unixMs() });
  const response = await fetch(endpoint, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: sdp });
  const answer = await response.text();
  tell("answer", { status: response.status, sdp: answer });
  if (response.status !== 201) throw new Error(`${response.status} ${answer}`);
  return { answer, resource: new URL(response.headers.get("Location"), endpoint) };
}

async function run() {
  tell("version", { version: version() });
  const feedback = [{ type: "nack" }, { type: "nack", parameter: "pli" }];
  const parameters = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
  const h264 = new RTCRtpCodecParameters({
    mimeType: "video/H264",
    clockRate: 90000,
    rtcpFeedback: feedback,
    parameters,
  });
  const connection = new RTCPeerConnection({ codecs: { video: [h264] } });
  if (way === "publish") publish(connection);
  else watch(connection);

  await connection.setLocalDescription(await connection.createOffer());
  const { answer, resource } = await post(connection.localDescription.sdp);
  await connection.setRemoteDescription({ type: "answer", sdp: answer });

  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once("end", resolve));
  await fetch(resource, { method: "DELETE" });
  await connection.close();
  process.exit(0);
}

run().catch((error) => {
  console.error(error);
  process.exit(1);
});
