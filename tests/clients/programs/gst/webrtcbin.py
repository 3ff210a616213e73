"""A WHIP publisher and a WHEP viewer on GStreamer's webrtcbin: `publish URL`, or `watch URL FOLDER`.

It runs in the system's Python, which has GStreamer's bindings and nothing of this project. It tells what it does in
lines of JSON, and leaves when its input ends.
"""

import json
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 - the versions come first

FRAMES_WANTED = 32
SOURCE = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 ! videoconvert ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 ! video/x-h264,profile=constrained-baseline ! "
    "rtph264pay config-interval=-1 ! application/x-rtp,media=video,encoding-name=H264,payload=96 ! rtc."
)
SINK = (
    "rtph264depay ! h264parse ! openh264dec ! videoconvert ! video/x-raw,format=RGB ! "
    "appsink name=sink emit-signals=true sync=false"
)
WANTED = "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,packetization-mode=(string)1"


def tell(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def unix_ms() -> float:
    return time.time() * 1_000


class Client:
    """A pipeline with one webrtcbin. It offers once its candidates are gathered, and lives until the input ends."""

    def __init__(self, url: str, folder: Path | None) -> None:
        self._url = url
        self._folder = folder
        self._frames = 0
        self._resource: str | None = None
        self._loop = GLib.MainLoop()
        source = SOURCE if folder is None else ""
        self._elements = Gst.parse_bin_from_description(f"webrtcbin name=rtc bundle-policy=max-bundle {source}", False)
        self._pipeline = Gst.Pipeline.new()
        self._pipeline.add(self._elements)
        self._rtc = self._elements.get_by_name("rtc")
        self._rtc.connect("on-negotiation-needed", self._negotiate)
        self._rtc.connect("notify::ice-gathering-state", self._gathering)
        if folder is not None:
            self._rtc.connect("pad-added", self._receive)
            direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            self._rtc.emit("add-transceiver", direction, Gst.Caps.from_string(WANTED))

    def run(self) -> None:
        """Until the input ends."""
        self._pipeline.set_state(Gst.State.PLAYING)
        threading.Thread(target=self._heed, daemon=True).start()
        self._loop.run()
        if self._resource is not None:
            urllib.request.urlopen(urllib.request.Request(self._resource, method="DELETE"), timeout=15).close()
        self._pipeline.set_state(Gst.State.NULL)

    def _heed(self) -> None:
        sys.stdin.read()
        self._loop.quit()

    def _negotiate(self, rtc: Any) -> None:
        rtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self._offered, None))

    def _offered(self, promise: Any, _: object) -> None:
        # The description is the reply's: the one must live as long as the other.
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        self._rtc.emit("set-local-description", offer, None)

    def _gathering(self, rtc: Any, _: object) -> None:
        if rtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            threading.Thread(target=self._post, daemon=True).start()

    def _post(self) -> None:
        """The offer with all its candidates, and the answer."""
        offer = self._rtc.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(self._url, offer.encode(), {"Content-Type": "application/sdp"}, method="POST")
        tell("offer", unixMs=unix_ms())
        with urllib.request.urlopen(request, timeout=15) as response:
            answer = response.read().decode()
            self._resource = urljoin(self._url, response.headers["Location"])
            tell("answer", status=response.status, sdp=answer)
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self._rtc.emit("set-remote-description", description, None)

    def _receive(self, _: object, pad: Any) -> None:
        decoding = Gst.parse_bin_from_description(SINK, True)
        decoding.get_by_name("sink").connect("new-sample", self._show)
        self._elements.add(decoding)
        decoding.sync_state_with_parent()
        pad.link(decoding.sinkpads[0])

    def _show(self, sink: Any) -> Any:
        """Count a decoded picture, and keep every fourth."""
        sample = sink.emit("pull-sample")
        if self._frames == 0:
            tell("first-frame", unixMs=unix_ms())
        shape = sample.get_caps().get_structure(0)
        width, height = shape.get_value("width"), shape.get_value("height")
        if self._frames % 4 == 0 and self._frames < FRAMES_WANTED:
            self._keep(sample.get_buffer(), width, height)
        self._frames += 1
        if self._frames == FRAMES_WANTED:
            tell("watched", frames=self._frames)
        return Gst.FlowReturn.OK

    def _keep(self, buffer: Any, width: int, height: int) -> None:
        assert self._folder is not None
        data = buffer.extract_dup(0, buffer.get_size())
        (self._folder / f"{self._frames:04}.ppm").write_bytes(b"P6 %d %d 255\n" % (width, height) + data)


if __name__ == "__main__":
    Gst.init(None)
    tell("version", version=Gst.version_string())
    Client(sys.argv[2], Path(sys.argv[3]) if sys.argv[1] == "watch" else None).run()
