// Where the publisher's pictures come from: the camera, or a video file played in this browser.

class SourceError extends Error {
  constructor(title, message) { super(message); this.title = title; }
}

/** The camera as `{stream, close}`. Throws a SourceError that says what to do. */
export async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) throw new SourceError("No camera access here", "Browsers give the camera only to https pages and to this machine's own address (127.0.0.1 or localhost).");
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { width: { ideal: 832 }, height: { ideal: 480 }, frameRate: { ideal: 30, max: 30 } } });
    return { stream, close: () => stream.getTracks().forEach((track) => track.stop()) };
  } catch (error) {
    const words = {
      NotAllowedError: ["The camera was refused", "Allow the camera for this page in the browser's address bar, then try again."],
      NotFoundError: ["No camera found", "Plug one in, or play a video file instead."],
      NotReadableError: ["The camera is busy", "Another program is using it. Close that, then try again."],
    }[error.name] ?? ["The camera did not start", error.message];
    throw new SourceError(...words);
  }
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
