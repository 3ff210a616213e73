"""How much of the engine's work the device has finished, part by part: what shows that a long call is not stuck.

A part is a forward, or the VAE's work on one chunk (on the last few, where a stream is restored). On a CPU it is
finished when its call returns. On a GPU a call that returns has queued its work and proves nothing, so each part leaves
an event behind it and counts once the device has passed that: a device that hangs stops the count, however much is
queued.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from genlock_core.clock import Clock


class DeviceTimer:
    """Seconds that a device spent on one kind of work, and on how many pieces of it; may be read on another thread.

    On a CPU they are the seconds of the call. On a GPU they lie between two events, which `wait` of the progress that
    the work belongs to has passed before anybody takes them.
    """

    def __init__(self, device: torch.device, clock: Clock) -> None:
        self._device = device
        self._clock = clock
        self._spent: deque[tuple[float | tuple[torch.cuda.Event, torch.cuda.Event], int]] = deque()

    @contextmanager
    def piece(self, count: int = 1) -> Iterator[None]:
        """The work that is queued within: `count` pieces that are done in one go."""
        if self._device.type != "cuda":
            began_s = self._clock.monotonic()
            yield
            self._spent.append((self._clock.monotonic() - began_s, count))
            return

        stream = torch.cuda.current_stream(self._device)
        begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # the library has no types
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        begin.record(stream)
        yield
        end.record(stream)
        self._spent.append(((begin, end), count))

    def take(self) -> tuple[float, int]:
        """Seconds and pieces since the last call, as far as the device has done them."""
        seconds = 0.0
        pieces = 0
        while self._spent:
            spent, count = self._spent[0]
            if isinstance(spent, tuple) and not spent[1].query():  # type: ignore[no-untyped-call]
                break
            self._spent.popleft()
            pieces += count
            seconds += spent if isinstance(spent, float) else spent[0].elapsed_time(spent[1]) / 1000
        return seconds, pieces


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
