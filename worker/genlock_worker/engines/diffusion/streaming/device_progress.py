"""How much of the engine's work the device has finished, part by part: what shows that a long call is not stuck.

A part is a forward, or the VAE's work on one chunk (on the last few, where a stream is restored). On a CPU it is
finished when its call returns. On a GPU a call that returns has queued its work and proves nothing, so each part leaves
an event behind it and counts once the device has passed that: a device that hangs stops the count, however much is
queued.
"""

from collections import deque

import torch


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
