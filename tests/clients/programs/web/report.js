// What the pages of the laboratory share: they report events over HTTP, and know when they are no longer needed.

const FRAMES_WANTED = 32;
const PERIOD = 60;

export const unixMs = () => performance.timeOrigin + performance.now();

/** The laboratory's own address, wherever the page comes from; the page's query says which visit it is. */
const laboratory = (path) => new URL(`${path}${location.search}`, import.meta.url);

/** Tell the laboratory an event. */
export async function report(event) {
  await fetch(laboratory("report"), { method: "POST", body: JSON.stringify(event) });
}

/** Resolves when the laboratory has seen enough of this page. */
export async function leave() {
  await fetch(laboratory("leave"));
}

/** Count the pictures that a video element shows, keep every fourth, and report them once there are enough. */
export function look(video) {
  const pictures = [];
  let frames = 0;
  const seen = () => {
    if (frames === 0) report({ event: "first-frame", unixMs: unixMs() });
    if (frames % 4 === 0) pictures.push(pictureOf(video));
    frames += 1;
    if (frames < FRAMES_WANTED) {
      video.requestVideoFrameCallback(seen);
    } else {
      report({ event: "watched", frames, width: video.videoWidth, height: video.videoHeight, pictures });
    }
  };
  video.requestVideoFrameCallback(seen);
}

function pictureOf(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/jpeg", 0.9);
}

/** A canvas with four coloured corners and a bar that wanders. */
export function card() {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  const width = (canvas.width = 640);
  const height = (canvas.height = 360);
  const corners = ["#dc2828", "#28c828", "#2828dc", "#f0f0f0"];
  let index = 0;
  const paint = () => {
    pen.fillStyle = "#606060";
    pen.fillRect(0, 0, width, height);
    corners.forEach((colour, corner) => {
      pen.fillStyle = colour;
      pen.fillRect(corner % 2 ? width * 0.75 : 0, corner > 1 ? height * 0.75 : 0, width / 4, height / 4);
    });
    pen.fillStyle = "#101010";
    pen.fillRect(0, (height * 3) / 8, width, height / 4);
    pen.fillStyle = "#fafafa";
    pen.fillRect(((width * 7) / 8) * ((index % PERIOD) / PERIOD), (height * 3) / 8, width / 8, height / 4);
    index += 1;
  };
  paint();
  setInterval(paint, 1000 / 30);
  return canvas;
}

/** Report the offer and the answer of a library that does not tell them: those of the POST to `url`. */
export function tellOffer(url) {
  const plain = window.fetch;
  window.fetch = async (input, init) => {
    const offers = init?.method === "POST" && String(input) === url;
    if (offers) report({ event: "offer", unixMs: unixMs() });
    const response = await plain(input, init);
    if (offers) report({ event: "answer", status: response.status, sdp: await response.clone().text() });
    return response;
  };
}
