"""While two workers make pictures of a session, viewers miss none and see none twice, whichever of the two is ahead."""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
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
from genlock_gateway.access.limits import TokenBucket
from genlock_gateway.sessions.audience import Audience, PeerResource
from genlock_gateway.sessions.output_gate import SessionOutput
from genlock_gateway.sessions.overlap import CATCH_UP_S, CLOSE_S, HOLD_S, SEAM_AHEAD_S, FrameVerdict, Overlap
from genlock_gateway.sessions.stats import SessionStats
from genlock_gateway.sessions.upstream.links import WorkerChannel
from genlock_gateway.sessions.upstream.mover import Epochs

LEAVING, SUCCESSOR = 5, 6
BEFORE = 10
"""Frames that were shown before the successor joins."""


@dataclass
class Move:
    """A polite move on a clock: each worker sends the frame of each period, so long after it was captured."""

    fps: int
    leaving_lag_s: float
    successor_lag_s: float
    asks_take_s: float

    clock: ManualClock = field(default_factory=ManualClock)
    shown: list[tuple[float, int]] = field(default_factory=list)
    """When, and which frame."""
    asked: list[tuple[float, SourcePosition | None]] = field(default_factory=list)
    epochs: Epochs = field(default_factory=lambda: Epochs(LEAVING))

    def live(self, epoch: int) -> None: ...

    def ask_key_frame(self, codec: Codec, *, after: SourcePosition | None = None) -> None:
        self.asked.append((self.clock.monotonic() + self.asks_take_s, after))

    def output(self) -> SessionOutput:
        audience = Audience()
        viewer = cast("Any", SimpleNamespace(codec=Codec.H264))
        bucket = TokenBucket(rate_per_s=1, burst=1, now_s=0)
        audience.viewers.add(PeerResource("a", "whep", viewer, etag="", may_control=False, messages=bucket))
        metrics = GatewayMetrics(CollectorRegistry())
        stats = SessionStats("default/demo", frame_rate=self.fps, clock=self.clock, metrics=metrics)
        output = SessionOutput(Codec.H264, audience=audience, stats=stats, clock=self.clock, owner=self)
        cast("Any", output.fanouts[Codec.H264]).push = self.push
        return output

    def push(self, unit: AccessUnit) -> None:
        self.shown.append((self.clock.monotonic(), round(unit.capture_us * self.fps / 1e6)))

    async def run(self, *, frames: int) -> None:
        """Until the frame of that number has come from both."""
        output, start_s = self.output(), self.clock.monotonic()
        sent = [(LEAVING, number, number / self.fps + self.leaving_lag_s) for number in range(frames)]
        sent += [(SUCCESSOR, number, number / self.fps + self.successor_lag_s) for number in range(frames)]
        joins_s = BEFORE / self.fps + max(self.leaving_lag_s, self.successor_lag_s)
        resumes: SourcePosition | None = None
        begins = True

        for epoch, number, at_s in sorted(sent, key=lambda one: one[2]):
            self.clock.advance(start_s + at_s - self.clock.monotonic())
            place = SourcePosition(1, round(number / self.fps * 1e6))
            if epoch == SUCCESSOR:
                if at_s < joins_s:
                    continue
                self.epochs = Epochs(SUCCESSOR, leaving=LEAVING)
                while self.asked and self.asked[0][0] <= self.clock.monotonic():
                    resumes = self.asked.pop(0)[1]
                    begins = True
                if resumes is not None and place <= resumes:
                    continue
            key = number == 0 if epoch == LEAVING else begins
            begins = begins and epoch == LEAVING
            unit = AccessUnit(Codec.H264, b"x", key_frame=key, capture_us=place.capture_us)
            media = MediaReceived(1, "default/demo", epoch, unit, run=1, sequence=number)
            output.receive(cast(WorkerChannel, SimpleNamespace(epoch=epoch)), media)
            output.tick()


@given(
    st.sampled_from([8, 16, 30]),
    st.floats(0.1, 0.8),
    st.floats(0.1, 0.8),
    st.floats(0.0, 0.1),
)
@example(16, 0.2, 0.8, 0.01)
@example(16, 0.8, 0.2, 0.01)
@settings(max_examples=60)
def test_a_polite_move_misses_no_frame_and_shows_none_twice(
    fps: int, leaving_lag_s: float, successor_lag_s: float, asks_take_s: float
) -> None:
    move = Move(fps, leaving_lag_s, successor_lag_s, asks_take_s)
    asyncio.run(move.run(frames=round(6 * fps)))
    numbers = [number for _, number in move.shown]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 5 * fps, "the successor is shown"
    longest_s = max(b - a for (a, _), (b, _) in pairwise(move.shown))
    assert longest_s <= 2 / fps + max(0.0, successor_lag_s - leaving_lag_s) + 1e-6


def test_the_seam_is_set_once_the_successor_is_close_and_ahead_of_both() -> None:
    overlap = Overlap.begun(6, run=1, now_s=0.0)
    shown = SourcePosition(1, 1_000_000)
    far = SourcePosition(1, 1_000_000 - round(CLOSE_S * 1e6) - 1)
    for position, seam_us in ((far, None), (SourcePosition(1, far.capture_us + 1), 1_000_000)):
        verdict = overlap.judge_successor(Codec.H264, position, shown, key_frame=True, now_s=0.0)
        assert verdict is FrameVerdict.OVERLAPS
        assert overlap.seam == (seam_us and SourcePosition(1, seam_us + round(SEAM_AHEAD_S * 1e6)))


@pytest.mark.parametrize(("position_run", "is_set"), [(1, False), (3, True)])
def test_a_successor_of_an_older_publication_is_behind_and_one_of_a_newer_one_is_not(
    position_run: int, is_set: bool
) -> None:
    overlap = Overlap.begun(6, run=1, now_s=0.0)
    position = SourcePosition(position_run, 5)
    overlap.judge_successor(Codec.H264, position, SourcePosition(2, 5), key_frame=True, now_s=0.0)
    assert (overlap.seam is not None) is is_set


def test_an_overlap_ends() -> None:
    overlap = Overlap.begun(6, run=1, now_s=1.0)
    longest_s = 1.0 + CATCH_UP_S + SEAM_AHEAD_S + HOLD_S
    assert not overlap.is_over(longest_s)
    assert overlap.is_over(longest_s + 0.01)
