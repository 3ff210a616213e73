"""A child process that is kept alive: started, heard until it says `ready`, started again when it dies."""

import asyncio
import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from genlock_cli.redis_server import end_with_parent
from genlock_cli.up.plan import ChildPlan
from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_core.process.tasks import wait_first

STOP_TIMEOUT_S = 10.0
LONGEST_DELAY_S = 10.0
STEADY_AFTER_S = 10.0
"""A child that lived this long is started again as after its first death."""
_LAST_LINES = 12

logger = logging.getLogger(__name__)


class ChildFailed(GenlockError):
    """A child that never became ready; the message ends with its own last words."""

    def __init__(self, name: str, reason: str, log: Path, last_words: str) -> None:
        super().__init__(f"{name} {reason}; its log is {log}" + (f"\n{last_words}" if last_words else ""))


class ChildState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "restarting"
    STOPPED = "stopped"


def restart_delay_s(deaths: int, lived_s: float, *, first_s: float) -> float:
    """How long to wait before a child is started again: `first_s`, doubling while it keeps dying early, bounded."""
    if lived_s >= STEADY_AFTER_S or deaths <= 0:
        return first_s
    return min(LONGEST_DELAY_S, first_s * 2.0 ** min(deaths - 1, 10))


class Child:
    """One supervised process.

    States: starting -> ready (it printed its `ready` line) -> restarting (it died; a delay) -> starting ...; `stop`
    leads to stopped from everywhere. The supervising task moves it; `on_change` is called after each move.
    """

    def __init__(
        self,
        plan: ChildPlan,
        *,
        environment: Mapping[str, str],
        log: Path,
        clock: Clock,
        on_change: Callable[["Child"], None],
    ) -> None:
        self.plan = plan
        self.state = ChildState.STOPPED
        self.restarts = 0
        self._environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self._log = log
        self._clock = clock
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._stopping = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def start(self) -> None:
        """Begin to supervise; `ready()` tells when the child serves."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.write_bytes(b"")
        self._task = asyncio.create_task(self._supervise(), name=f"child {self.plan.name}")

    async def ready(self) -> None:
        """Wait for the first `ready` line. Raises ChildFailed when the child dies before it, or says nothing."""
        assert self._task is not None
        await wait_first(self._ready, self._task, timeout_s=self.plan.ready_within_s)
        if not self._ready.is_set():
            late = f"was not ready within {self.plan.ready_within_s:g} s"
            reason = "ended before it was ready" if self._task.done() else late
            raise ChildFailed(self.plan.name, reason, self._log, self._last_words())

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process to end, by force after `STOP_TIMEOUT_S`, and supervise no more."""
        self._stopping = True
        if self._task is None:
            return
        self.send_signal(number)
        if self._process is None or self._process.returncode is not None:
            self._task.cancel()
        _, pending = await asyncio.wait({self._task}, timeout=STOP_TIMEOUT_S)
        if pending:
            self.send_signal(signal.SIGKILL)
            await asyncio.wait({self._task}, timeout=STOP_TIMEOUT_S)
        self._move(ChildState.STOPPED)

    async def _supervise(self) -> None:
        deaths = 0
        while not self._stopping:
            self._move(ChildState.STARTING)
            began = self._clock.monotonic()
            code = await self._run_once()
            lived_s = self._clock.monotonic() - began
            if self._stopping or not self._ready.is_set():
                return  # a child that never served has a mistake that another start would repeat
            deaths = 1 if lived_s >= STEADY_AFTER_S else deaths + 1
            logger.warning("%s ended with code %s after %.1f s; starting it again", self.plan.name, code, lived_s)
            self._move(ChildState.WAITING)
            await asyncio.sleep(restart_delay_s(deaths, lived_s, first_s=self.plan.first_delay_s))
            self.restarts += 1

    async def _run_once(self) -> int:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.plan.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for `genlock up`, which stops its children in order
                preexec_fn=end_with_parent(),
            )
            assert self._process.stdout is not None
            async for line in self._process.stdout:
                log.write(line)
                log.flush()
                if line.startswith(b"ready"):
                    self._ready.set()
                    self._move(ChildState.READY)
            return await self._process.wait()

    def _move(self, state: ChildState) -> None:
        if state is not self.state:
            self.state = state
            self._on_change(self)

    def _last_words(self) -> str:
        """From where the program speaks in its own name (`genlock-worker: ...`), else the log's end."""
        with self._log.open(errors="replace") as log:
            lines = list(deque(log, maxlen=_LAST_LINES))
        own = [index for index, line in enumerate(lines) if line.startswith("genlock-")]
        return "".join(lines[own[-1] :] if own else lines).strip()
