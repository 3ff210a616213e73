"""The processes of the operator's benchmark: what they cost in memory and CPU time, and what they say on stdout."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

STOP_S = 20.0


class ProcessEnded(Exception):
    """A process ended that should not have; the message ends with its last words."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process has taken so far."""

    cpu_s: float
    rss_mb: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Child:
    """One process of ours; its stderr goes to `log`."""

    process: Process
    log: Path

    async def line(self, *, patience_s: float) -> str:
        """The next line that it says. Raises ProcessEnded, TimeoutError."""
        assert self.process.stdout is not None
        async with asyncio.timeout(patience_s):
            line = await self.process.stdout.readline()
        if not line:
            raise self._ended()
        return line.decode().strip()

    async def while_alive(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do this, for which the process is needed. Raises ProcessEnded as soon as it ends."""
        doing, ending = asyncio.ensure_future(work), asyncio.ensure_future(self.process.wait())
        try:
            await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise self._ended()
            return await doing
        finally:
            for task in (doing, ending):
                task.cancel()
            await asyncio.gather(doing, ending, return_exceptions=True)

    def _ended(self) -> ProcessEnded:
        last = self.log.read_text(errors="replace").splitlines()[-15:]
        return ProcessEnded("\n".join([f"status {self.process.returncode}; its last words:", *last]))

    async def ask(self, *, patience_s: float = 10.0) -> str:
        """Send an empty line, and what it says to that."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()
        return await self.line(patience_s=patience_s)

    def cost(self) -> Cost:
        folder = Path("/proc") / str(self.process.pid)
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        memory = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        rss, peak = (int(memory[name].split()[0]) / 1_024 for name in ("VmRSS", "VmHWM"))
        return Cost(ticks / os.sysconf("SC_CLK_TCK"), rss, peak)

    async def stop(self) -> None:
        """Ask it to end; kill it if it does not."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def child(module: str, *options: str, log: Path, environment: Mapping[str, str]) -> AsyncIterator[Child]:
    """`python -m module options`, ended when this is left."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *options),
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            env={**os.environ, **environment},
        )
    one = Child(process, log)
    try:
        yield one
    finally:
        await one.stop()
