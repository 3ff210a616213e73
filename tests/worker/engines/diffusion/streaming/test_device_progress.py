"""What counts as progress: parts that the device has finished, and nothing that was only handed to it."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from genlock_worker.engines.contract import Row
from genlock_worker.engines.diffusion.streaming.device_progress import DeviceProgress
from tests.worker.engines.diffusion.streams import BlockVae, Cramped, chunk, engine, play, settings


class Hung(Exception):
    """Where a real device would never answer."""


@dataclass
class FakeGpu:
    """Finishes the first `finishes` parts that it was given."""

    finishes: int
    given: int = 0
    waited: list[int] = field(default_factory=list)

    def event(self) -> "FakeEvent":
        return FakeEvent(self)


@dataclass
class FakeEvent:
    gpu: FakeGpu
    number: int = -1

    def record(self, _stream: object) -> None:
        self.number = self.gpu.given
        self.gpu.given = self.gpu.given + 1

    def synchronize(self) -> None:
        if self.number >= self.gpu.finishes:
            raise Hung
        self.gpu.waited.append(self.number)


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


def test_rows_that_are_run_in_halves_count_each_forward_and_each_decode() -> None:
    cramped = Cramped(rows=1)
    one = engine(forward=cramped, vae=BlockVae())
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
    assert passes == list(range(primed, primed + len(passes)))
    assert len(passes) > 3
    assert one.progress == len(passes) + 2 * primed
