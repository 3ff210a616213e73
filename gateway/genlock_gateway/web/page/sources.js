// Where the publisher's pictures come from: a camera of this device, or a video file played in this browser.

/** A source that did not open. `state`: that of the situation which it puts the page in; "" for any other reason. */
export class SourceError extends Error {
  constructor(title, message, state = "") { super(message); Object.assign(this, { title, state }); }
}

const REFUSALS = { NotAllowedError: "camera-refused", SecurityError: "camera-refused", NotFoundError: "no-camera", OverconstrainedError: "no-camera", NotReadableError: "camera-busy" };

/**
 * A camera as `{stream, close}`. `size`: {width, height} that the session makes; `deviceId` or `facingMode` ("user",
 * "environment") choose one. Throws a SourceError.
 */
export async function openCamera(size, { deviceId, facingMode } = {}) {
  if (!navigator.mediaDevices?.getUserMedia) throw new SourceError("", "", "camera-insecure");
  const video = { width: { ideal: size.width }, height: { ideal: size.height }, aspectRatio: { ideal: size.width / size.height }, frameRate: { ideal: 30, max: 30 } };
  if (deviceId) video.deviceId = { exact: deviceId };
  if (facingMode) video.facingMode = { ideal: facingMode };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video });
    return { stream, close: () => stream.getTracks().forEach((track) => track.stop()) };
  } catch (error) {
    throw new SourceError("The camera did not start", error.message, REFUSALS[error.name]);
  }
}

/** The cameras of this device, with names once one of them was allowed. */
export async function cameras() {
  const devices = await navigator.mediaDevices?.enumerateDevices?.() ?? [];
  return devices.filter((device) => device.kind === "videoinput");
}

/** A file, looped, as `{stream, close}`. */
export async function openFile(file) {
  const video = document.createElement("video");
  const url = URL.createObjectURL(file);
  const close = () => { video.pause(); video.removeAttribute("src"); URL.revokeObjectURL(url); };
  Object.assign(video, { src: url, muted: true, loop: true, playsInline: true });
  const capture = video.captureStream ?? video.mozCaptureStream;
  if (!capture) { close(); throw new SourceError("This browser cannot publish a file", "Use Chrome, Edge or Firefox, or the command: genlock publish FILE SESSION"); }
  try {
    await video.play();
  } catch {
    close();
    throw new SourceError("That file does not play", `${file.name} is not a video that this browser understands.`);
  }
  const captured = capture.call(video);
  const stream = new MediaStream(captured.getVideoTracks());
  if (!stream.getVideoTracks().length) { close(); throw new SourceError("That file has no picture", `${file.name} carries no video track.`); }
  return { stream, close: () => { stream.getTracks().forEach((track) => track.stop()); close(); } };
}
