"""What counts as progress: parts that the device has finished, and nothing that was only handed to it."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from genlock_core.clock import ManualClock
from genlock_worker.engines.contract import Row
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceProgress, DeviceTimer
from tests.worker.engines.diffusion.streams import BlockVae, Cramped, chunk, engine, play, settings


class Hung(Exception):
    """Where a real device would never answer."""


@dataclass
class FakeGpu:
    """Finishes the first `finishes` parts that it was given."""

    finishes: int
    given: int = 0
    waited: list[int] = field(default_factory=list)

    def event(self, *, enable_timing: bool = False) -> "FakeEvent":
        return FakeEvent(self, is_timed=enable_timing)


@dataclass
class FakeEvent:
    gpu: FakeGpu
    is_timed: bool = False
    number: int = -1

    def record(self, _stream: object) -> None:
        self.number = self.gpu.given
        self.gpu.given = self.gpu.given + 1

    def synchronize(self) -> None:
        if self.number >= self.gpu.finishes:
            raise Hung
        self.gpu.waited.append(self.number)

    def query(self) -> bool:
        return self.number < self.gpu.finishes

    def elapsed_time(self, later: "FakeEvent") -> float:
        """Each part takes 40 ms."""
        assert self.is_timed
        assert later.is_timed
        assert self.query()
        assert later.query()
        return 40.0 * (later.number - self.number)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    made = FakeGpu(finishes=100)
    monkeypatch.setattr(torch.cuda, "Event", made.event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: None)
    return made


def test_on_a_gpu_queued_parts_count_one_by_one_as_they_are_finished(gpu: FakeGpu) -> None:
    progress = DeviceProgress(torch.device("cuda"))
    for _ in range(4):
        progress.queued()
    assert (progress.parts, gpu.waited) == (0, [])
    progress.wait(ahead=1)
    assert (progress.parts, gpu.waited) == (3, [0, 1, 2])
    progress.wait()
    progress.wait()
    assert (progress.parts, gpu.waited) == (4, [0, 1, 2, 3])


def test_a_gpu_that_hangs_stops_the_count_whatever_is_queued(gpu: FakeGpu) -> None:
    progress = DeviceProgress(torch.device("cuda"))
    gpu.finishes = 2
    for _ in range(50):
        progress.queued()
    with pytest.raises(Hung):
        progress.wait()
    assert progress.parts == 2


def test_on_a_cpu_a_part_is_finished_when_its_call_returns() -> None:
    progress = DeviceProgress(torch.device("cpu"))
    progress.queued()
    assert progress.parts == 1
    progress.wait()
    assert progress.parts == 1


def test_on_a_cpu_a_timer_sums_the_seconds_of_its_calls_until_they_are_taken() -> None:
    clock = ManualClock()
    timer = DeviceTimer(torch.device("cpu"), clock)
    assert timer.take() == (0.0, 0)
    for seconds in (0.5, 0.25):
        with timer.piece():
            clock.advance(seconds)
        clock.advance(7)
    assert timer.take() == (0.75, 2)
    assert timer.take() == (0.0, 0)


def test_work_that_raises_is_no_piece() -> None:
    clock = ManualClock()
    timer = DeviceTimer(torch.device("cpu"), clock)

    def fails() -> None:
        with timer.piece():
            clock.advance(1)
            raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        fails()
    assert timer.take() == (0.0, 0)


def test_on_a_gpu_a_timer_tells_what_the_device_has_done_and_waits_for_none_of_it(gpu: FakeGpu) -> None:
    clock = ManualClock()
    timer = DeviceTimer(torch.device("cuda"), clock)
    gpu.finishes = 3
    for _ in range(3):
        with timer.piece():
            clock.advance(100)  # the host's time is nobody's
    assert timer.take() == (0.04, 1)
    assert timer.take() == (0.0, 0)
    gpu.finishes = 6
    assert timer.take() == (0.08, 2)
    assert gpu.waited == []


def test_rows_that_are_run_in_halves_count_each_forward_and_each_decode() -> None:
    cramped = Cramped(rows=1)
    one = engine(forward=cramped, vae=BlockVae(), overlap=False)  # beside them, those that wait share a call
    for session in "abc":
        one.open(session, settings(steps=1))
        one.feed(session, chunk(0))
    before = one.progress
    results = one.run([Row(session, 0, 0) for session in "abc"])
    assert cramped.tried == [3, 1, 2, 1, 1]
    assert all(result.output is not None for result in results)
    assert one.progress == before + 3 + 3


def test_a_chunk_counts_its_encode_its_forwards_and_its_decode() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=3))
    before = one.progress
    play(one, "s", range(2))
    assert one.progress == before + 2 * (1 + 3 + 1)


def test_a_restore_counts_each_pass_through_the_network_and_the_vae() -> None:
    source = engine(vae=BlockVae())
    source.open("s", settings(steps=1))
    play(source, "s", range(9))
    state = source.snapshot("s")
    passes: list[Any] = []

    def forward(batch: Any) -> Any:
        passes.append(one.progress)
        return source._shared.components.transformer(batch)

    one = engine(forward=forward, vae=BlockVae(), overlap=False)
    primed = one._shared.options.primed_chunks
    one.restore("s", settings(steps=1), state)
    assert passes == list(range(2 * primed, 2 * primed + len(passes)))
    assert len(passes) > 3
    assert one.progress == len(passes) + 2 * primed
