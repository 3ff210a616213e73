"""FFmpeg's `whip` muxer, which PyAV carries: `publish URL CERTIFICATE KEY`, the latter two in PEM."""

import sys
import threading
import time

import av

from tests.clients.card import BASELINE, HEIGHT, RATE, WIDTH, frames
from tests.clients.programs.python.telling import tell, unix_ms


def heed(leave: threading.Event) -> None:
    """The end of the input says that it is time to leave."""
    sys.stdin.read()
    leave.set()


def main(url: str, certificate: str, key: str) -> None:
    tell("version", version=f"FFmpeg {av.ffmpeg_version_info} (PyAV {av.__version__})")
    leave = threading.Event()
    threading.Thread(target=heed, args=(leave,), daemon=True).start()

    pictures = frames()
    with av.open(url, "w", format="whip", options={"cert_file": certificate, "key_file": key}) as output:
        stream = output.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 800_000
        stream.options = dict(BASELINE)
        stream.codec_context.thread_count = 1

        tell("offer", unixMs=unix_ms())
        began_s = time.monotonic()
        count = 0
        while not leave.is_set():
            frame = pictures[count % len(pictures)]
            frame.pts = count
            output.mux(stream.encode(frame))
            count += 1
            time.sleep(max(0.0, began_s + count / RATE - time.monotonic()))


if __name__ == "__main__":
    assert sys.argv[1] == "publish"
    main(*sys.argv[2:5])
