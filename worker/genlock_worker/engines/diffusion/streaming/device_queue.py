"""What the engine's thread has queued on its device, and how far the device has come: nobody here waits for it.

Work is queued part by part: a forward, or the encoder's work on one chunk (on the last few, where a stream is
restored). On a CPU a part is finished when its call returns. On a GPU a call that returns has queued its work and
proves nothing, so each part leaves an event behind it. A thread waits for these events in their order, and whoever
asked is told by a future. A device that hangs stops the count, however much is queued.

All of it is queued on one stream, in order. So memory that one piece of work has let go may be used by the next at
once: pages of a ring, slots of prompts, what the allocator hands out.
"""

from collections.abc import Callable
from concurrent.futures import Future

import torch

from genlock_worker.engines.diffusion.streaming.one_thread import OneThread

Reached = Future[None]
"""Done once the device has come so far; raises what the device failed with, and then nothing behind it counts."""


def at_once() -> Reached:
    """What is reached already."""
    reached: Reached = Future()
    reached.set_result(None)
    return reached


class DeviceQueue:
    """The queue of one device. All but `parts` is called on the engine's thread."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._at_once = at_once()
        self._watch: OneThread | None = OneThread("device") if device.type == "cuda" else None
        self.parts = 0
        """Parts that were finished since the engine was made; may be read on any thread."""

    def queued(self) -> Reached:
        """A part was handed to the device; it counts once it is finished."""
        return self._behind(self._count)

    def reached(self) -> Reached:
        """All that was queued until now."""
        return self._behind(_nothing)

    def stop(self) -> None:
        """End the thread; a device that hangs is left behind."""
        if self._watch is not None:
            self._watch.stop()

    def _behind(self, then: Callable[[], None]) -> Reached:
        """`then` is called once the device has come to here, before the future is done."""
        if self._watch is None:
            then()
            return self._at_once

        # The thread sleeps while it waits, where it would else turn round and round. A device that has failed takes no
        # event any more: whoever waits for it is told, as of any other fault.
        try:
            event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # the library has no types
            event.record(torch.cuda.current_stream(self._device))
        except RuntimeError as problem:
            never: Reached = Future()
            never.set_exception(problem)
            return never

        def wait() -> None:
            event.synchronize()
            then()

        return self._watch.submit(wait)

    def _count(self) -> None:
        self.parts += 1


def _nothing() -> None:
    pass
