from fractions import Fraction
from pathlib import Path

import av
import pytest

from genlock_cli.clients.whep import is_key_frame
from genlock_cli.encoded_source import EncodedSource, EncodingPlan, SourceUnreadable, media_s
from genlock_core.media import Codec


def a_clip(path: Path, *, frames: int, fps: int = 10) -> str:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            for packet in stream.encode(frame):
                output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    return str(path)


@pytest.mark.parametrize(("name", "codec"), [("h264", Codec.H264), ("vp8", Codec.VP8)])
def test_key_frames_come_when_planned_and_when_asked_for(name: str, codec: Codec) -> None:
    source = EncodedSource("testsrc", EncodingPlan(frame_rate=10, key_frame_every_s=1.0, codec=name), loop=False)
    keys = []
    for index in range(14):
        if index == 4:
            source.want_key_frame()
        packet = source.next_packet()
        assert packet is not None
        assert media_s(packet) == pytest.approx(index / 10)
        assert is_key_frame(codec, bytes(packet)) == bool(packet.is_keyframe)
        if packet.is_keyframe:
            keys.append(index)
    assert keys == [0, 4, 10]
    source.close()


def test_a_file_ends_unless_it_is_looped_and_is_brought_to_the_rate(tmp_path: Path) -> None:
    path = a_clip(tmp_path / "clip.mp4", frames=10, fps=10)
    once = EncodedSource(path, EncodingPlan(frame_rate=20), loop=False)
    count = 0
    while once.next_packet() is not None:
        count += 1
    assert count in range(18, 22)
    looped = EncodedSource(path, EncodingPlan(frame_rate=20), loop=True)
    assert all(looped.next_packet() is not None for _ in range(50))
    looped.close()


def test_a_large_picture_is_scaled_to_fit(tmp_path: Path) -> None:
    source = EncodedSource("testsrc", EncodingPlan(max_width=320, max_height=320), loop=False)
    packet = source.next_packet()
    assert packet is not None
    decoder = av.CodecContext.create("h264", "r")
    frames = decoder.decode(packet) + decoder.decode(None)
    assert (frames[0].width, frames[0].height) == (320, 184)
    source.close()


@pytest.mark.parametrize("content", [None, b"", b"not a video at all"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceUnreadable, match=r"x\.mp4"):
        EncodedSource(str(path), EncodingPlan(), loop=False)
