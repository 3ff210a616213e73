"""What SIGTERM and SIGINT mean to a process of Genlock, the same for worker, gateway, operator and command.

SIGTERM is what Kubernetes sends to a container, SIGINT is Ctrl-C.

- The first SIGTERM asks a process to drain, then to end.
- A SIGINT, or a second SIGTERM, asks it to end at once, without a drain.
- One more signal ends the process where it stands: its clean-up hangs, or somebody will not wait for it.
"""

import asyncio
import logging
import os
import signal
from typing import Final, Self

logger = logging.getLogger(__name__)

HEEDED: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Serving -> `stopping` -> `hurrying` -> ended by the signal; each signal leads at least one step further.

    For a process that has nothing to drain, `stopping` and `hurrying` are one step.
    """

    def __init__(self, *, drains: bool) -> None:
        self.stopping = asyncio.Event()
        """Set once the process is to leave."""
        self.hurrying = asyncio.Event()
        """Set once the process is to leave without a drain."""
        self._drains = drains

    @classmethod
    def heed(cls, *, drains: bool) -> Self:
        """Heed the signals from now on. The first process of a container ignores a signal that it does not handle, so
        a process calls this before it waits for anything."""
        signals = cls(drains=drains)
        signals.take()
        return signals

    def take(self) -> None:
        """Take the signals, also back from a library that took them meanwhile."""
        loop = asyncio.get_running_loop()
        for number in HEEDED:
            loop.add_signal_handler(number, self.came, number)

    def came(self, number: signal.Signals) -> None:
        """A signal came."""
        if self.hurrying.is_set():
            logger.warning("%s came again: the process ends here", number.name)
            self._end_by(number)
        elif self._drains and number == signal.SIGTERM and not self.stopping.is_set():
            logger.info("%s came: the process drains, then ends", number.name)
            self.stopping.set()
        else:
            logger.info("%s came: the process ends", number.name)
            self.stopping.set()
            self.hurrying.set()

    def _end_by(self, number: signal.Signals) -> None:
        """End by what a signal does where nobody handles it, so that the exit status tells which one it was."""
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
