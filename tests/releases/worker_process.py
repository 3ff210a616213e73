"""Worker processes of an earlier release, or of today's code, round one Redis.

A release lies here as a wheel of its core and worker. It is unpacked into a folder that stands first on the process's
PYTHONPATH, before the code that is installed.
"""

import asyncio
import os
import signal
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from genlock_core.tokens import SECRETS_VARIABLE

RELEASES = Path(__file__).parent
BEFORE_SUBMISSIONS = "8ac7cba"
"""The last release whose engines were fed and run in one call."""
READY_WITHIN_S = 60.0
ENDS_WITHIN_S = 30.0


def unpack(release: str, into: Path) -> Path:
    """The release's code in a folder of its own, which is given."""
    (wheel,) = (RELEASES / release).glob("*.whl")
    code = into / release
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(code)
    return code


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the workers of a test share. `secrets` is the text of a keyring."""

    redis_url: str
    secrets: str
    logs: Path
    arguments: tuple[str, ...]
    """The engine, its model, and what else each worker is told."""

    async def start(self, name: str, *, code: Path | None = None) -> "WorkerProcess":
        """A worker that says it is ready; of the release whose `code` that is, or of today's."""
        environment = {**os.environ, SECRETS_VARIABLE: self.secrets, "PYTHONUNBUFFERED": "1"}
        if code is not None:
            environment["PYTHONPATH"] = str(code)

        log = self.logs / f"{name}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "genlock_worker.main", "--name", name, "--redis", self.redis_url),
                *("--listen", "127.0.0.1:0", "--drain-timeout", f"{ENDS_WITHIN_S:g}s", *self.arguments),
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
        worker = WorkerProcess(name, process, log)
        try:
            await worker.ready()
        except BaseException:
            await worker.kill()
            raise
        return worker


@dataclass(slots=True)
class WorkerProcess:
    """A running worker: ready (`Surroundings.start` returned) -> gone (`leave` or `kill`)."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    async def ready(self) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(READY_WITHIN_S):
            async for line in self.process.stdout:
                if line.startswith(b"ready"):
                    return
        raise AssertionError(f"{self.name} ended before it was ready:\n{self.log.read_text()[-3_000:]}")

    async def leave(self) -> None:
        """Ask it to go, as a rollout does: it moves its sessions away first. Fails if it does not end in order."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(ENDS_WITHIN_S):
            _, code = await asyncio.gather(self._read_on(), self.process.wait())
        assert code == 0, f"{self.name} ended with {code}:\n{self.log.read_text()[-3_000:]}"

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await asyncio.gather(self._read_on(), self.process.wait())

    async def _read_on(self) -> None:
        """Until its output ends, so that it never waits for a reader and no pipe stays open."""
        assert self.process.stdout is not None
        await self.process.stdout.read()
