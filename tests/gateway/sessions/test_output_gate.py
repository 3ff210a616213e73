"""What viewers are shown while workers change: which frames, the first of an epoch, a lost worker, key frames."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from genlock_core.clock import ManualClock
from genlock_core.link.events import MediaReceived
from genlock_core.media import AccessUnit, Codec, SourcePosition
from genlock_core.metrics import GatewayMetrics
from genlock_core.slo.stages import StageTimes
from genlock_gateway.access.limits import TokenBucket
from genlock_gateway.sessions.audience import Audience, PeerResource
from genlock_gateway.sessions.output_gate import KEY_FRAME_EVERY_S, OutputGate, SessionOutput
from genlock_gateway.sessions.overlap import (
    CATCH_UP_S,
    CLOSE_S,
    HOLD_S,
    OVERLAP_S,
    OWN_SOURCE_RUN,
    SEAM_AHEAD_S,
    STALLED_S,
    FrameVerdict,
)
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.links import WorkerChannel
from genlock_gateway.sessions.upstream.mover import Epochs

FIVE = Epochs(5)
SIX = Epochs(6)
SIX_AFTER_FIVE = Epochs(6, leaving=5)


def admit(
    gate: OutputGate,
    epochs: Epochs,
    epoch: int,
    at_us: int,
    *,
    key: bool = False,
    run: int = 1,
    now_s: float = 0.0,
    codec: Codec = Codec.H264,
) -> FrameVerdict:
    return gate.admit(
        codec, epoch=epoch, epochs=epochs, position=SourcePosition(run, at_us), key_frame=key, now_s=now_s
    )


def test_an_epoch_starts_with_a_key_frame() -> None:
    gate = OutputGate()
    assert admit(gate, FIVE, 5, 1) is FrameVerdict.NEEDS_KEY
    assert admit(gate, FIVE, 5, 2, key=True) is FrameVerdict.SHOW
    assert admit(gate, FIVE, 5, 3) is FrameVerdict.SHOW


def test_frames_of_a_stale_epoch_are_refused() -> None:
    gate = OutputGate()
    assert admit(gate, FIVE, 5, 1, key=True) is FrameVerdict.SHOW
    assert admit(gate, SIX, 5, 2) is FrameVerdict.STALE
    assert admit(gate, SIX, 4, 2, key=True) is FrameVerdict.STALE


def test_a_worker_of_which_a_frame_was_refused_goes_on_with_a_key_frame() -> None:
    gate = OutputGate()
    assert admit(gate, FIVE, 5, 1, key=True) is FrameVerdict.SHOW
    assert admit(gate, SIX, 5, 2) is FrameVerdict.STALE
    assert admit(gate, SIX_AFTER_FIVE, 5, 3) is FrameVerdict.NEEDS_KEY
    assert admit(gate, SIX_AFTER_FIVE, 5, 4, key=True) is FrameVerdict.SHOW


def test_frames_of_an_epoch_that_is_not_known_yet_are_refused() -> None:
    assert admit(OutputGate(), FIVE, 6, 1, key=True) is FrameVerdict.STALE


def test_nothing_older_than_what_was_shown_is_shown_and_the_chain_starts_anew() -> None:
    gate = OutputGate()
    admit(gate, FIVE, 5, 100, key=True)
    assert admit(gate, SIX, 6, 90, key=True) is FrameVerdict.OLDER
    assert admit(gate, SIX, 6, 110) is FrameVerdict.NEEDS_KEY
    assert admit(gate, SIX, 6, 120, key=True) is FrameVerdict.SHOW
    assert gate.last_shown == SourcePosition(1, 120)


def test_a_later_publication_comes_after_an_earlier_one_whatever_its_clock() -> None:
    gate = OutputGate()
    admit(gate, FIVE, 5, 10**9, key=True, run=1)
    assert admit(gate, FIVE, 5, 5, run=2) is FrameVerdict.SHOW


SEAM_US = round(SEAM_AHEAD_S * 1e6)


def test_a_polite_move_shows_the_leaving_worker_up_to_the_seam_and_its_successor_after_it() -> None:
    gate, epochs = OutputGate(), SIX_AFTER_FIVE
    admit(gate, FIVE, 5, 100, key=True)
    assert admit(gate, epochs, 6, 50, key=True) is FrameVerdict.OVERLAPS
    seam = 100 + SEAM_US
    assert gate.resumes_after(Codec.H264, epochs, 0.0) == SourcePosition(1, seam)
    assert admit(gate, epochs, 5, seam) is FrameVerdict.SHOW
    assert not gate.successor_arrived(epochs)
    assert not gate.may_leave(epochs, 0.0)

    assert admit(gate, epochs, 5, seam + 1) is FrameVerdict.STALE
    assert admit(gate, epochs, 6, seam + 1, key=True) is FrameVerdict.SHOW
    assert gate.successor_arrived(epochs)
    assert gate.may_leave(epochs, 0.0)
    assert gate.resumes_after(Codec.H264, epochs, 0.0) is None


def test_a_successor_that_is_ahead_waits_at_the_seam_for_the_leaving_worker() -> None:
    gate, epochs = OutputGate(), SIX_AFTER_FIVE
    admit(gate, FIVE, 5, 0, key=True)
    assert admit(gate, epochs, 6, 500_000, key=True) is FrameVerdict.OVERLAPS
    seam = 500_000 + SEAM_US
    assert admit(gate, epochs, 6, seam + 1, key=True) is FrameVerdict.HOLD
    assert admit(gate, epochs, 5, seam - 1) is FrameVerdict.SHOW
    assert admit(gate, epochs, 6, seam + 1, key=True) is FrameVerdict.HOLD
    assert admit(gate, epochs, 5, seam + 2) is FrameVerdict.STALE
    assert admit(gate, epochs, 6, seam + 1, key=True) is FrameVerdict.SHOW


def test_a_successor_waits_at_the_seam_no_longer_than_it_may() -> None:
    gate, epochs = OutputGate(), SIX_AFTER_FIVE
    admit(gate, FIVE, 5, 0, key=True)
    admit(gate, epochs, 6, 0, key=True)
    assert admit(gate, epochs, 6, SEAM_US + 1, key=True) is FrameVerdict.HOLD
    assert admit(gate, epochs, 5, 1, now_s=HOLD_S - 0.01) is FrameVerdict.SHOW
    assert admit(gate, epochs, 6, SEAM_US + 1, key=True, now_s=HOLD_S - 0.01) is FrameVerdict.HOLD
    assert admit(gate, epochs, 6, SEAM_US + 1, key=True, now_s=HOLD_S) is FrameVerdict.SHOW


def test_nobody_waits_for_a_leaving_worker_that_brings_nothing() -> None:
    gate, epochs = OutputGate(), SIX_AFTER_FIVE
    admit(gate, FIVE, 5, 0, key=True)
    admit(gate, epochs, 6, 0, key=True)
    assert admit(gate, epochs, 5, 2) is FrameVerdict.SHOW
    assert admit(gate, epochs, 6, 3, key=True, now_s=STALLED_S) is FrameVerdict.OVERLAPS
    assert admit(gate, epochs, 6, 4, now_s=STALLED_S + 0.01) is FrameVerdict.NEEDS_KEY
    assert gate.resumes_after(Codec.H264, epochs, STALLED_S + 0.01) == SourcePosition(1, 2)
    assert admit(gate, epochs, 6, 5, key=True, now_s=STALLED_S + 0.02) is FrameVerdict.SHOW


def test_while_the_successor_is_far_behind_the_leaving_worker_is_shown_and_the_successor_told_how_far() -> None:
    gate, epochs = OutputGate(), SIX_AFTER_FIVE
    far_us = round(CLOSE_S * 1e6) + 10
    admit(gate, FIVE, 5, far_us, key=True)
    for step in range(1, 5):
        assert admit(gate, epochs, 6, step, key=True) is FrameVerdict.OVERLAPS
        assert admit(gate, epochs, 5, far_us + step) is FrameVerdict.SHOW
        assert gate.resumes_after(Codec.H264, epochs, 0.0) == SourcePosition(1, far_us + step)


@pytest.mark.parametrize(("run", "limit_s"), [(OWN_SOURCE_RUN, OVERLAP_S), (1, CATCH_UP_S)])
def test_a_leaving_worker_does_not_win_for_ever(run: int, limit_s: float) -> None:
    gate, epochs, far_us = OutputGate(), SIX_AFTER_FIVE, 10**7
    admit(gate, FIVE, 5, far_us, key=True, run=run)
    admit(gate, epochs, 6, 50, key=True, now_s=1.0, run=run)
    assert admit(gate, epochs, 5, far_us + SEAM_US + 1, now_s=1.0 + limit_s, run=run) is FrameVerdict.SHOW
    admit(gate, epochs, 6, 60, key=True, now_s=1.0 + limit_s, run=run)
    admit(gate, epochs, 6, 70, key=True, now_s=1.0 + limit_s + 0.01, run=run)
    seam = far_us + 2 * SEAM_US + 1
    assert admit(gate, epochs, 5, seam + 1, now_s=1.1 + limit_s, run=run) is FrameVerdict.STALE
    assert admit(gate, epochs, 6, seam + 1, key=True, now_s=1.2 + limit_s, run=run) is FrameVerdict.SHOW


def test_a_leaving_worker_whose_successor_shows_nothing_goes_in_the_end() -> None:
    gate, epochs = OutputGate(), SIX_AFTER_FIVE
    admit(gate, FIVE, 5, 100, key=True)
    admit(gate, epochs, 6, 50)
    longest_s = CATCH_UP_S + SEAM_AHEAD_S + HOLD_S
    assert not gate.may_leave(epochs, longest_s - 0.01)
    assert gate.may_leave(epochs, longest_s + 0.01)


def test_a_leaving_worker_is_not_late_before_its_successor_has_sent_anything() -> None:
    gate = OutputGate()
    admit(gate, FIVE, 5, 100, key=True, now_s=0.0)
    assert not gate.may_leave(SIX_AFTER_FIVE, 100.0), "the wait begins with the first frame of the current epoch"


def test_each_codec_has_its_own_key_frames() -> None:
    gate = OutputGate()
    assert admit(gate, FIVE, 5, 1, key=True) is FrameVerdict.SHOW
    assert admit(gate, FIVE, 5, 1, codec=Codec.VP8) is FrameVerdict.NEEDS_KEY
    gate.restart(Codec.H264)
    assert admit(gate, FIVE, 5, 2) is FrameVerdict.NEEDS_KEY


def test_a_leaving_worker_is_replaced_in_each_codec_by_itself() -> None:
    gate, epochs = OutputGate(), SIX_AFTER_FIVE
    for codec in (Codec.H264, Codec.VP8):
        admit(gate, FIVE, 5, 100, key=True, codec=codec)
    admit(gate, epochs, 6, 100, codec=Codec.H264)
    after = 101 + SEAM_US
    assert admit(gate, epochs, 5, after, codec=Codec.H264) is FrameVerdict.STALE
    assert admit(gate, epochs, 6, after, key=True, codec=Codec.H264) is FrameVerdict.SHOW
    assert admit(gate, epochs, 5, after - 1, codec=Codec.VP8) is FrameVerdict.SHOW
    assert not gate.may_leave(epochs, 0.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["switch", "handover", "late handover", "old frame", "old frame", "frame", "frame"]),
            st.integers(-3, 3),
            st.booleans(),
        ),
        max_size=80,
    )
)
@example(
    [
        ("frame", 0, True),
        ("switch", 0, False),
        ("old frame", 0, False),
        ("late handover", 0, False),
        ("old frame", 0, False),
    ]
)
@settings(max_examples=200)
def test_whatever_comes_what_is_shown_never_goes_back_and_always_decodes(steps: list[tuple[str, int, bool]]) -> None:
    gate, epochs, last_epoch = OutputGate(), Epochs(0), 0
    shown: list[SourcePosition] = []
    was_shown: dict[int, bool] = {}
    for now, (what, off_us, key) in enumerate(steps):
        if what == "late handover":
            epochs = Epochs(epochs.current, leaving=epochs.current - 1)
        elif what in ("switch", "handover"):
            epochs = Epochs(epochs.current + 1, leaving=epochs.current if what == "handover" else None)
        else:
            epoch = epochs.current - (what == "old frame")
            position = SourcePosition(1, now + off_us)
            is_shown = admit(gate, epochs, epoch, now + off_us, key=key, now_s=now / 10) is FrameVerdict.SHOW
            before, was_shown[epoch] = was_shown.get(epoch, False), is_shown
            if is_shown:
                assert not shown or position >= shown[-1]
                assert epoch in (epochs.current, epochs.leaving)
                assert epoch == last_epoch or key, "another encoder's pictures start with a key frame"
                assert key or before, "it refers to the one before it of its encoder, which decoders have not got"
                shown.append(position)
                last_epoch = epoch


def frame(at_us: int, *, epoch: int, key: bool = True) -> MediaReceived:
    unit = AccessUnit(Codec.VP8, b"\x00", key_frame=key, capture_us=at_us)
    return MediaReceived(
        1, "default/demo", epoch, unit, run=1, sequence=0, replay=False, late=False, stages=StageTimes()
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@dataclass
class Owner:
    """The session of an output: says which epochs count, and keeps what it is told."""

    epochs: Epochs = FIVE
    asked: list[Codec] = field(default_factory=list)
    places: list[SourcePosition | None] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)

    def live(self, epoch: int) -> None:
        self.shown.append(epoch)

    def ask_key_frame(self, codec: Codec, *, after: SourcePosition | None = None) -> None:
        self.asked.append(codec)
        self.places.append(after)


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def audience() -> Audience:
    return Audience()


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics(CollectorRegistry())


@pytest.fixture
async def output(clock: ManualClock, owner: Owner, audience: Audience, metrics: GatewayMetrics) -> SessionOutput:
    stats = SessionStats("default/demo", frame_rate=16, clock=clock, metrics=metrics)
    return SessionOutput(Codec.H264, audience=audience, stats=stats, clock=clock, owner=owner)


def show(output: SessionOutput, at_us: int, epochs: Epochs, *, epoch: int, key: bool = True) -> FrameVerdict:
    return output.show(frame(at_us, epoch=epoch, key=key), channel_epoch=epoch, epochs=epochs)


def cross_over(output: SessionOutput, at_us: int) -> None:
    """From the fifth epoch, which was shown up to there, to the sixth one."""
    show(output, at_us, SIX_AFTER_FIVE, epoch=6)
    show(output, at_us + SEAM_US + 1, SIX_AFTER_FIVE, epoch=5)
    assert show(output, at_us + SEAM_US + 1, SIX_AFTER_FIVE, epoch=6) is FrameVerdict.SHOW


async def test_the_newest_epoch_that_was_shown_is_known_and_a_leaving_worker_does_not_lower_it(
    output: SessionOutput,
) -> None:
    assert output.shown_epoch == 0
    assert show(output, 1, FIVE, epoch=5) is FrameVerdict.SHOW
    assert output.shown_epoch == 5
    assert show(output, 2, SIX_AFTER_FIVE, epoch=5) is FrameVerdict.SHOW
    assert output.shown_epoch == 5, "nothing of the successor was shown yet"
    cross_over(output, 2)
    show(output, 4, SIX_AFTER_FIVE, epoch=5)
    assert output.shown_epoch == 6


async def test_a_lost_worker_is_told_once_and_until_its_successor_is_shown(output: SessionOutput) -> None:
    assert not output.lose(), "nothing was shown"
    show(output, 1, FIVE, epoch=5)
    assert output.lose()
    assert not output.lose()
    assert show(output, 2, SIX, epoch=5) is FrameVerdict.STALE
    assert output.lost
    assert show(output, 2, SIX, epoch=6) is FrameVerdict.SHOW
    assert not output.lost


async def test_a_worker_stays_lost_while_only_the_leaving_one_is_shown(output: SessionOutput) -> None:
    show(output, 1, FIVE, epoch=5)
    output.lose()
    assert show(output, 2, SIX_AFTER_FIVE, epoch=5) is FrameVerdict.SHOW
    assert output.lost


async def test_a_frame_of_the_leaving_worker_in_another_codec_does_not_lower_the_epoch(output: SessionOutput) -> None:
    h264 = AccessUnit(Codec.H264, b"\x00\x00\x01\x65\x80", key_frame=True, capture_us=1)
    for unit in (h264, replace(h264, codec=Codec.VP8)):
        output.show(replace(frame(1, epoch=5), unit=unit), channel_epoch=5, epochs=FIVE)
    cross_over(output, 2)
    late = replace(frame(2, epoch=5), unit=replace(h264, capture_us=2))
    assert output.show(late, channel_epoch=5, epochs=SIX_AFTER_FIVE) is FrameVerdict.SHOW
    assert output.shown_epoch == 6


async def test_a_frame_whose_epoch_is_not_its_channels_is_stale(output: SessionOutput) -> None:
    assert output.show(frame(1, epoch=6), channel_epoch=5, epochs=FIVE) is FrameVerdict.STALE
    assert output.show(frame(1, epoch=5), channel_epoch=6, epochs=FIVE) is FrameVerdict.STALE
    assert output.last_shown is None


async def test_a_key_frame_that_can_be_shown_is_asked_for_but_not_for_every_frame(
    output: SessionOutput, clock: ManualClock, owner: Owner
) -> None:
    for _ in range(3):
        assert show(output, 1, FIVE, epoch=5, key=False) is FrameVerdict.NEEDS_KEY
    assert owner.asked == [Codec.VP8]
    clock.advance(KEY_FRAME_EVERY_S)
    show(output, 2, FIVE, epoch=5, key=False)
    assert owner.asked == [Codec.VP8, Codec.VP8]


async def test_the_leaving_worker_is_fed_and_kept_until_its_successors_picture_is_shown(output: SessionOutput) -> None:
    show(output, 1, FIVE, epoch=5)
    assert output.feeds_leaving(SIX_AFTER_FIVE)
    assert not output.may_leave(SIX_AFTER_FIVE)
    cross_over(output, 1)
    assert not output.feeds_leaving(SIX_AFTER_FIVE)
    assert output.may_leave(SIX_AFTER_FIVE)


async def test_what_waits_at_the_seam_is_shown_in_order_once_the_leaving_worker_is_there(
    output: SessionOutput, owner: Owner, audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(output.fanouts[Codec.VP8], "push", lambda unit: sent.append(unit.capture_us))
    audience.viewers.add(viewer(Codec.VP8))

    def receive(at_us: int, *, epoch: int, key: bool = False) -> None:
        channel = cast(WorkerChannel, SimpleNamespace(epoch=epoch))
        output.receive(channel, frame(at_us, epoch=epoch, key=key))

    receive(1, epoch=5, key=True)
    owner.epochs = SIX_AFTER_FIVE
    receive(1, epoch=6, key=True)
    seam = 1 + SEAM_US
    assert owner.places == [SourcePosition(1, seam)]
    receive(seam + 1, epoch=6, key=True)
    receive(seam + 2, epoch=6)
    receive(seam, epoch=5)
    assert sent == [1, seam]
    receive(seam + 1, epoch=5)
    assert sent == [1, seam, seam + 1, seam + 2]
    receive(seam + 3, epoch=6)
    assert sent[-1] == seam + 3


async def test_what_waits_at_the_seam_waits_for_no_worker_that_has_gone(
    output: SessionOutput, owner: Owner, audience: Audience
) -> None:
    audience.viewers.add(viewer(Codec.VP8))
    for at_us, epoch in ((1, 5), (1, 6), (2 + SEAM_US, 6)):
        output.receive(cast(WorkerChannel, SimpleNamespace(epoch=epoch)), frame(at_us, epoch=epoch))
        owner.epochs = SIX_AFTER_FIVE
    assert output.shown_epoch == 5
    owner.epochs = SIX
    output.tick()
    assert output.shown_epoch == 6


def viewer(codec: Codec) -> PeerResource:
    return PeerResource(
        id="a", kind="whep", peer=cast(Any, SimpleNamespace(codec=codec)), etag="", may_control=False,
        messages=TokenBucket(rate_per_s=1, burst=1, now_s=0),
    )  # fmt: skip


async def test_without_viewers_nothing_is_shown_and_with_them_the_first_frame_of_an_epoch_is_told(
    output: SessionOutput, owner: Owner, audience: Audience, metrics: GatewayMetrics
) -> None:
    def receive(at_us: int, epochs: Epochs, *, epoch: int) -> bool:
        owner.epochs = epochs
        owner.shown.clear()
        output.receive(cast(WorkerChannel, SimpleNamespace(epoch=epoch)), frame(at_us, epoch=epoch))
        return owner.shown == [epoch]

    assert not receive(1, FIVE, epoch=5)
    assert output.last_shown is None
    audience.viewers.add(viewer(Codec.VP8))
    assert receive(2, FIVE, epoch=5)
    assert not receive(3, FIVE, epoch=5)
    assert not receive(4, SIX, epoch=5)
    assert receive(5, SIX, epoch=6)
    samples = metrics.registry.get_sample_value
    assert samples("genlock_gateway_frames_dropped_total", {"reason": "stale-epoch"}) == 1
    assert samples("genlock_gateway_frames_out_total", {"session": "default/demo"}) == 3


@pytest.mark.parametrize("preferred", list(Codec))
async def test_the_sessions_own_codec_is_the_first_that_viewers_are_offered(
    clock: ManualClock, owner: Owner, audience: Audience, metrics: GatewayMetrics, preferred: Codec
) -> None:
    stats = SessionStats("default/demo", frame_rate=16, clock=clock, metrics=metrics)
    output = SessionOutput(preferred, audience=audience, stats=stats, clock=clock, owner=owner)
    first, *others = output.fanouts
    assert first is preferred
    assert set(others) == set(Codec) - {preferred}
    output.close()
