"""What viewers are shown: the first frame of an epoch, a lost worker, key frames that are asked for with measure."""

import pytest

from genlock_core.clock import ManualClock
from genlock_core.link.events import MediaReceived
from genlock_core.media import AccessUnit, Codec
from genlock_core.slo.stages import StageTimes
from genlock_gateway.sessions.output import KEY_FRAME_EVERY_S, SessionOutput
from genlock_gateway.sessions.output_gate import FrameVerdict


def frame(at_us: int, *, epoch: int, key: bool = True) -> MediaReceived:
    unit = AccessUnit(Codec.VP8, b"\x00", key_frame=key, capture_us=at_us)
    return MediaReceived(
        1, "default/demo", epoch, unit, run=1, sequence=0, replay=False, late=False, stages=StageTimes()
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def asked() -> list[Codec]:
    return []


@pytest.fixture
async def output(clock: ManualClock, asked: list[Codec]) -> SessionOutput:
    return SessionOutput(Codec.H264, clock=clock, ask_key_frame=asked.append)


async def test_the_first_shown_frame_of_each_epoch_begins_it(output: SessionOutput) -> None:
    assert not output.opened(3, leaving=None)
    assert output.show(frame(1, epoch=3), epoch=3) is FrameVerdict.SHOW
    assert output.began(3)
    assert not output.began(3)
    assert output.opened(4, leaving=3)
    assert output.began(4)


async def test_a_lost_worker_is_told_once_and_until_its_successor_is_shown(output: SessionOutput) -> None:
    assert not output.lose(), "nothing was shown"
    output.opened(3, leaving=None)
    output.show(frame(1, epoch=3), epoch=3)
    output.began(3)
    assert output.lose()
    assert not output.lose()
    output.opened(4, leaving=None)
    assert output.show(frame(2, epoch=3), epoch=3) is FrameVerdict.STALE
    assert output.lost
    assert output.show(frame(2, epoch=4), epoch=4) is FrameVerdict.SHOW
    assert not output.lost


async def test_a_frame_whose_epoch_is_not_its_channels_is_stale(output: SessionOutput) -> None:
    output.opened(3, leaving=None)
    assert output.show(frame(1, epoch=4), epoch=3) is FrameVerdict.STALE


async def test_a_key_frame_that_can_be_shown_is_asked_for_but_not_for_every_frame(
    output: SessionOutput, clock: ManualClock, asked: list[Codec]
) -> None:
    output.opened(3, leaving=None)
    for _ in range(3):
        assert output.show(frame(1, epoch=3, key=False), epoch=3) is FrameVerdict.NEEDS_KEY
    assert asked == [Codec.VP8]
    clock.advance(KEY_FRAME_EVERY_S)
    output.show(frame(2, epoch=3, key=False), epoch=3)
    assert asked == [Codec.VP8, Codec.VP8]


async def test_the_leaving_worker_is_fed_and_kept_until_its_successors_picture_is_shown(output: SessionOutput) -> None:
    output.opened(3, leaving=None)
    output.show(frame(1, epoch=3), epoch=3)
    output.opened(4, leaving=3)
    assert output.feeds(3)
    assert not output.release(3)
    output.show(frame(2, epoch=4), epoch=4)
    assert not output.feeds(3)
    assert output.release(3)
    assert not output.release(3)
