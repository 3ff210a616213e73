"""How much of its work a device has finished, and how long it took: what shows that a long call is not stuck.

A part of the work counts once the device has done it. On a CPU it is finished when its call returns. On a GPU a call
that returns has queued its work and proves nothing, so each part leaves an event behind it and counts once the device
has passed that: a device that hangs stops the count, however much is queued. (`device_queue` has the same for the
engine's thread, which waits for nothing.)
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from genlock_core.clock import Clock


@dataclass(frozen=True, slots=True, eq=False)
class TimedWork:
    """Work that was done in one go."""

    pieces: int
    _span: float | tuple[torch.cuda.Event, torch.cuda.Event]
    """Seconds, or the events before and behind it."""

    @property
    def is_done(self) -> bool:
        return not isinstance(self._span, tuple) or self._span[1].query()  # type: ignore[no-untyped-call]

    @property
    def seconds(self) -> float:
        """How long the device was at it; only once it is done."""
        if isinstance(self._span, tuple):
            milliseconds: float = self._span[0].elapsed_time(self._span[1])
            return milliseconds / 1000
        return self._span


class DeviceTimer:
    """Seconds that a device spent on one kind of work, and on how many pieces of it; may be read on another thread.

    On a CPU they are the seconds of the call. On a GPU they lie between two events, so what the device does of earlier
    work, and the time that the host takes meanwhile, are not in them.
    """

    def __init__(self, device: torch.device, clock: Clock) -> None:
        self._device = device
        self._clock = clock
        self._spent: deque[TimedWork] = deque()

    @contextmanager
    def piece(self, count: int = 1) -> Iterator[None]:
        """The work that is queued within: `count` pieces that are done in one go."""
        if self._device.type != "cuda":
            began_s = self._clock.monotonic()
            yield
            self._spent.append(TimedWork(count, self._clock.monotonic() - began_s))
            return

        stream = torch.cuda.current_stream(self._device)
        begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # the library has no types
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        begin.record(stream)
        yield
        end.record(stream)
        self._spent.append(TimedWork(count, (begin, end)))

    def take(self) -> tuple[float, int]:
        """Seconds and pieces since the last call, as far as the device has done them."""
        seconds = 0.0
        pieces = 0
        while self._spent and self._spent[0].is_done:
            spent = self._spent.popleft()
            seconds += spent.seconds
            pieces += spent.pieces
        return seconds, pieces

    def take_queued(self) -> list[TimedWork]:
        """What was queued since the last call, done or not: to be asked for its seconds once it is."""
        taken = list(self._spent)
        self._spent.clear()
        return taken


class DeviceProgress:
    """The count. Only `parts` may be read on another thread."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._queued: deque[torch.cuda.Event] = deque()
        self.parts = 0
        """Parts that were finished since the engine was made."""

    def queued(self) -> None:
        """A part was handed to the device; does not wait for it."""
        if self._device.type != "cuda":
            self.parts += 1
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # the library has no types
        event.record(torch.cuda.current_stream(self._device))
        self._queued.append(event)

    def wait(self, *, ahead: int = 0) -> None:
        """Wait until all but the newest `ahead` parts are finished, and count each as soon as it is."""
        while len(self._queued) > ahead:
            self._queued[0].synchronize()
            self._queued.popleft()
            self.parts += 1
