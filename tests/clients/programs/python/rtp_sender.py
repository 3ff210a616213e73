"""FFmpeg's RTP muxer: sends an H264 file over and over to a UDP port of this machine, paced, until its input ends."""

import sys
import threading
import time
from fractions import Fraction

import av

from tests.clients.card import RATE
from tests.clients.programs.python.ffmpeg_whip import heed


def main(clip: str, port: str) -> None:
    leave = threading.Event()
    threading.Thread(target=heed, args=(leave,), daemon=True).start()

    with av.open(clip) as source:
        video = source.streams.video[0]
        packets = [bytes(packet) for packet in source.demux(video) if packet.size]
        keys = [b"\x00\x00\x01\x65" in packet for packet in packets]
        with av.open(f"rtp://127.0.0.1:{port}?pkt_size=1200", "w", format="rtp") as output:
            stream = output.add_stream_from_template(video)
            began_s = time.monotonic()
            count = 0
            while not leave.is_set():
                packet = av.Packet(packets[count % len(packets)])
                packet.stream = stream
                packet.pts = packet.dts = round(count * 90_000 / RATE)
                packet.time_base = Fraction(1, 90_000)
                packet.is_keyframe = keys[count % len(packets)]
                output.mux(packet)
                count += 1
                time.sleep(max(0.0, began_s + count / RATE - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
