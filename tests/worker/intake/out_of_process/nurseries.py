"""Nurseries of one test, and a look at their processes."""

import asyncio
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.bounds import Holdings
from genlock_core.clock import Clock, SystemClock
from genlock_core.media import AccessUnit, Codec
from genlock_core.metrics import WorkerMetrics
from genlock_worker.intake.out_of_process import nursery as nursery_client
from genlock_worker.intake.out_of_process.decoder import OutOfProcessDecoder
from genlock_worker.intake.out_of_process.nursery import MEMORY_BYTES, Nursery
from genlock_worker.intake.out_of_process.process import DEADLINE_S, DecoderProcess
from tests.bitstreams import clips
from tests.bitstreams.clips import FRAME_US, CodedPicture


class Home:
    """A nursery that is ready, and what it counts."""

    def __init__(self, clock: Clock | None, memory_bytes: int, deadline_s: float) -> None:
        self.registry = CollectorRegistry()
        self.nursery = Nursery(
            clock=clock or SystemClock(),
            metrics=WorkerMetrics(self.registry),
            memory_bytes=memory_bytes,
            deadline_s=deadline_s,
        )
        self.nursery.start()
        asyncio.run(self.nursery.ready())
        self.await_spare()

    def decoder(self, codec: Codec = Codec.H264, *, holdings: Holdings | None = None) -> OutOfProcessDecoder:
        return self.nursery.for_session("default/demo")(codec, holdings=holdings or Holdings())

    def losses(self, reason: str) -> float:
        return self.registry.get_sample_value("genlock_worker_decoder_losses_total", {"reason": reason}) or 0

    @property
    def restarts(self) -> float:
        return self.registry.get_sample_value("genlock_worker_nursery_restarts_total") or 0

    @property
    def connection(self) -> socket.socket:
        assert self.nursery._connection is not None
        return self.nursery._connection

    def await_word(self) -> None:
        """Until the nursery has said something that nobody has read yet."""
        wait_until(lambda: bool(select.select([self.connection], [], [], 0)[0]))

    def await_spare(self) -> None:
        """Until the only decoder is the spare one."""
        self.await_word()
        wait_until(lambda: len(self.decoders) == 1)

    @property
    def pid(self) -> int:
        assert self.nursery._process is not None
        return self.nursery._process.pid

    @property
    def decoders(self) -> list[int]:
        """The processes of its decoders, the spare one included, that have not ended."""
        return [pid for pid in children_of(self.pid) if state_of(pid) not in ("", "Z")]


@contextmanager
def nursery(
    *, clock: Clock | None = None, memory_bytes: int = MEMORY_BYTES, deadline_s: float = DEADLINE_S
) -> Iterator[Home]:
    made = Home(clock, memory_bytes, deadline_s)
    try:
        yield made
    finally:
        made.nursery.close()


def change_nurseries(monkeypatch: pytest.MonkeyPatch, folder: Path, change: str) -> None:
    """Nurseries that are started from now on run that code before they begin; `folder` keeps it."""
    name = "changed_nursery"
    (folder / f"{name}.py").write_text(
        f"import os\nfrom pathlib import Path\nfrom {nursery_client.__package__} import limits, nursery_process\n"
        f"{change}\nnursery_process.main()\n"
    )
    monkeypatch.setattr(nursery_client, "_MODULE", name)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def units(pictures: list[CodedPicture], codec: Codec = Codec.H264, *, keys: tuple[int, ...] = (0,)) -> list[AccessUnit]:
    return [
        AccessUnit(codec, picture.data, place in keys, picture.number * FRAME_US)
        for place, picture in enumerate(pictures)
    ]


def key_frame(*, width: int = clips.WIDTH, height: int = clips.HEIGHT) -> AccessUnit:
    return units(clips.h264(1, width=width, height=height))[0]


def process_of(decoder: OutOfProcessDecoder) -> DecoderProcess:
    assert decoder._process is not None
    return decoder._process


def pid_of(decoder: OutOfProcessDecoder) -> int:
    lines = Path(f"/proc/self/fdinfo/{process_of(decoder)._pidfd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))


def send(pid: int, what: signal.Signals) -> None:
    os.kill(pid, what)
    if what == signal.SIGSTOP:
        wait_until(lambda: state_of(pid) == "T")


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def state_of(pid: int) -> str:
    """As in proc(5): T is stopped, Z has ended; "" where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_gone(pid: int) -> bool:
    return state_of(pid) in ("", "Z")


def wait_until(condition: Callable[[], bool], *, patience_s: float = 10.0) -> None:
    """Until it is so; fails after a while."""
    end_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end_s, "it did not come to be"
        time.sleep(0.005)
