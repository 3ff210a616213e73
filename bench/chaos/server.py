"""The Redis of the stage: a real server on one port, whose clock steps where a C compiler is there to make one."""

import shlex
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from genlock_cli.redis_server import RedisProcess, find_redis_server

SOURCE = Path(__file__).with_name("clock.c")
COMPILER = "cc"


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock of one server: `executable` runs it under that clock."""

    executable: Path
    _off: Path
    """The seconds by which it is off; the server has the file mapped."""

    @staticmethod
    def can_be_made() -> bool:
        """Whether there is a C compiler, and a loader that takes what it makes."""
        return sys.platform == "linux" and shutil.which(COMPILER) is not None

    @classmethod
    def made(cls, folder: Path) -> Self | None:
        """Compiled into the folder; None where it cannot be made."""
        if not cls.can_be_made():
            return None

        library, off, executable = folder / "clock.so", folder / "clock", folder / "redis-server"
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([COMPILER, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
        under = f"LD_PRELOAD={shlex.quote(str(library))} BENCH_CLOCK={shlex.quote(str(off))}"
        # `exec`: the server has the process id that its supervisor knows.
        executable.write_text(f'#!/bin/sh\n{under} exec {shlex.quote(str(find_redis_server()))} "$@"\n')
        executable.chmod(0o700)

        clock = cls(executable, off)
        clock.step(0)
        return clock

    def step(self, off_s: int) -> None:
        """From now on it is off by so many seconds."""
        with self._off.open("r+b" if self._off.exists() else "wb") as file:
            file.write(struct.pack("=q", off_s))


@dataclass(frozen=True, slots=True)
class Server:
    """A server that keeps every write, and what it keeps."""

    process: RedisProcess
    data: Path
    """It is not there while the server has never run."""
    clock: Clock | None

    @classmethod
    def on(cls, folder: Path, *, port: int = 0) -> Self:
        """It is not started yet. Port 0 takes a free one."""
        data, clock = folder / "data", Clock.made(folder)
        return cls(_process(data, clock, port), data, clock)

    def at(self, port: int) -> Self:
        """The same data and clock at another port. This one has stopped."""
        return replace(self, process=_process(self.data, self.clock, port))


def _process(data: Path, clock: Clock | None, port: int) -> RedisProcess:
    return RedisProcess(data, port=port, append_only=True, executable=clock.executable if clock else None)
