from pathlib import Path

import av
import pytest

from genlock_cli.api import GatewayProblem
from genlock_cli.clients.whep import ReceivedFrame, is_key_frame
from genlock_cli.encoded_source import EncodedSource, EncodingPlan
from genlock_cli.record import FrameFile, _let_in
from genlock_core.media import Codec
from tests.cli.whep_gateway import whep_gateway


@pytest.mark.parametrize(
    ("codec", "name", "file"),
    [(Codec.H264, "h264", "a.mp4"), (Codec.VP8, "vp8", "a.webm"), (Codec.VP8, "vp8", "a.mkv")],
)
def test_what_arrives_can_be_played(tmp_path: Path, codec: Codec, name: str, file: str) -> None:
    source = EncodedSource("testsrc", EncodingPlan(frame_rate=16, codec=name, max_width=320), loop=False)
    path = tmp_path / file
    with FrameFile(path) as recording:
        for index in range(32):
            packet = source.next_packet()
            assert packet is not None
            data = bytes(packet)
            recording.write(ReceivedFrame(codec, data, is_key_frame(codec, data), 5.0 + index / 16, received_s=0.0))
        assert recording.seconds == pytest.approx(31 / 16, abs=0.001)
    source.close()
    with av.open(str(path)) as played:
        frames = list(played.decode(video=0))
    assert len(frames) == 32
    assert (frames[0].width, frames[0].height) == (320, 184)
    assert frames[-1].time == pytest.approx(31 / 16, abs=0.02)


def test_frames_with_the_same_time_are_kept_apart(tmp_path: Path) -> None:
    source = EncodedSource("testsrc", EncodingPlan(frame_rate=16, max_width=160), loop=False)
    path = tmp_path / "a.mp4"
    with FrameFile(path) as recording:
        for _ in range(4):
            data = bytes(source.next_packet() or b"")
            recording.write(ReceivedFrame(Codec.H264, data, is_key_frame(Codec.H264, data), 0.0, received_s=0.0))
    source.close()
    with av.open(str(path)) as played:
        assert len(list(played.decode(video=0))) == 4


async def test_who_records_waits_for_room_where_the_gateway_says_when_to_ask_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with whep_gateway() as gateway:
        gateway.refuses_with, gateway.refusals, gateway.retry_after = 503, 2, "0"
        viewer = await _let_in(gateway.url, None, codecs=(Codec.H264,), wait_s=30.0)
        await viewer.close()
        assert gateway.refusals == 0
        assert gateway.deleted == ["0"]
    assert capsys.readouterr().err.count("Trying again in ") == 2


async def test_who_records_does_not_wait_longer_than_it_was_told() -> None:
    async with whep_gateway() as gateway:
        gateway.refuses_with, gateway.retry_after = 503, "31"
        with pytest.raises(GatewayProblem):
            await _let_in(gateway.url, None, codecs=(Codec.H264,), wait_s=30.0)
