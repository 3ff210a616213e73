"""How far a device has come: told as it comes there, in order, by a thread that waits in the engine's place."""

import threading
from collections.abc import Iterator

import pytest
import torch

from genlock_worker.engines.diffusion.streaming.device_queue import DeviceQueue


class SlowGpu:
    """Comes to an event when it is let; fails at the one that is named."""

    def __init__(self) -> None:
        self.let = threading.Semaphore(0)
        self.fails_at = -1
        self.refuses = False
        self.recorded = 0
        self.blocking = list[bool]()

    def event(self, *, blocking: bool) -> "SlowEvent":
        self.blocking.append(blocking)
        return SlowEvent(self)


class SlowEvent:
    def __init__(self, gpu: SlowGpu) -> None:
        self._gpu = gpu
        self._number = -1

    def record(self, _stream: object) -> None:
        if self._gpu.refuses:
            raise RuntimeError("CUDA error: device-side assert triggered")
        self._number = self._gpu.recorded
        self._gpu.recorded += 1

    def synchronize(self) -> None:
        assert self._gpu.let.acquire(timeout=20)
        if self._number >= self._gpu.fails_at >= 0:
            raise RuntimeError("CUDA error: unspecified launch failure")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SlowGpu:
    made = SlowGpu()
    monkeypatch.setattr(torch.cuda, "Event", made.event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: None)
    return made


@pytest.fixture
def queue(gpu: SlowGpu) -> Iterator[DeviceQueue]:
    made = DeviceQueue(torch.device("cuda"))
    yield made
    gpu.let.release(100)
    made.stop()


def test_parts_count_as_the_device_comes_to_them_and_nobody_waits(gpu: SlowGpu, queue: DeviceQueue) -> None:
    first, mark, second = queue.queued(), queue.reached(), queue.queued()
    assert (queue.parts, first.done(), mark.done(), second.done()) == (0, False, False, False)
    gpu.let.release(2)
    mark.result(20)
    assert (queue.parts, first.done(), second.done()) == (1, True, False)
    gpu.let.release()
    second.result(20)
    assert queue.parts == 2
    assert all(gpu.blocking), "the thread sleeps while it waits"


def test_a_part_has_counted_before_anybody_is_told(gpu: SlowGpu, queue: DeviceQueue) -> None:
    seen = list[int]()
    queued = queue.queued()
    queued.add_done_callback(lambda _: seen.append(queue.parts))
    gpu.let.release()
    queued.result(20)
    queue.stop()
    assert seen == [1]


def test_what_lies_behind_a_fault_is_never_reached(gpu: SlowGpu, queue: DeviceQueue) -> None:
    gpu.fails_at = 1
    marks = [queue.queued() for _ in range(3)]
    gpu.let.release(3)
    marks[0].result(20)
    for mark in marks[1:]:
        with pytest.raises(RuntimeError, match="unspecified launch failure"):
            mark.result(20)
    assert queue.parts == 1


def test_a_device_that_takes_no_mark_any_more_is_told_as_any_fault(gpu: SlowGpu, queue: DeviceQueue) -> None:
    gpu.refuses = True
    for mark in (queue.queued(), queue.reached()):
        with pytest.raises(RuntimeError, match="device-side assert"):
            mark.result(20)
    assert queue.parts == 0


def test_on_a_cpu_what_is_queued_is_done() -> None:
    queue = DeviceQueue(torch.device("cpu"))
    assert queue.queued().done()
    assert queue.reached().done()
    assert queue.parts == 1
    queue.stop()
