"""The worker's end of the nursery: starts its process, takes decoders from it, starts it anew if it dies.

A worker has threads, perhaps a GPU, and secrets in its environment. So it is never forked: the nursery is a fresh
process, whose environment has only what Python needs to start.
"""

import asyncio
import logging
import os
import select
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_core.metrics import WorkerMetrics
from genlock_worker.intake.out_of_process.decoder import SessionDecoders
from genlock_worker.intake.out_of_process.nursery_process import READY, TAKEN
from genlock_worker.intake.out_of_process.process import DEADLINE_S, DecoderLost, DecoderProcess, Loss

logger = logging.getLogger(__name__)

MEMORY_BYTES: Final = 512 * 1024 * 1024
"""Of address space that a decoder's process may take besides what it starts with: `PICTURES_LIMIT` twice (what later
pictures refer to, and what is held back), `KEPT_LIMIT`, the largest picture in RGB twice (converted and copied), and
what libavcodec keeps beside its pictures."""
START_PATIENCE_S: Final = 15.0
"""For the first decoder of a fresh nursery, which imports for half a second on a quiet machine."""
SPARES_TRIED: Final = 3
"""A spare may have ended while it waited; where they all do, something is wrong with this system."""

_PASSED_ON: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "HOME", "TMPDIR")
"""Of the worker's environment. Its secrets are in there too."""
_ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Numeric libraries start threads when they are imported."""
_MODULE: Final = "genlock_worker.intake.out_of_process.nursery_process"


class NurseryFailed(GenlockError):
    """No decoder's process can be had here; the message says what to do."""


class Nursery:
    """Decoding out of process, for all sessions of a worker.

    Started (`start`) -> gives decoders to any thread (`take`) -> closed (`close`); with it end all processes.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        metrics: WorkerMetrics,
        memory_bytes: int = MEMORY_BYTES,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._memory_bytes = memory_bytes
        self._deadline_s = deadline_s
        self._taking = threading.Lock()
        """Held by whoever takes a decoder: one at a time reads the socket, or starts the nursery anew."""
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def start(self) -> None:
        """Start its process, which is ready a moment later. Raises NurseryFailed where there can be none."""
        if not sys.platform.startswith("linux"):
            raise NurseryFailed("--decode-process needs Linux; leave it out")
        self._start()

    async def ready(self) -> None:
        """Wait until a decoder is ready. Raises NurseryFailed."""
        if not await asyncio.to_thread(self._is_ready):
            raise NurseryFailed("no decoder's process can be started (see above); --decode-process=no does without")

    def for_session(self, session: str) -> SessionDecoders:
        return SessionDecoders(session, take=self.take, clock=self._clock, metrics=self._metrics)

    def take(self) -> DecoderProcess:
        """The spare one; the next is forked meanwhile. Raises DecoderLost."""
        with self._taking:
            for _ in range(SPARES_TRIED):
                taken = self._take() or self._take_of_fresh()
                if taken.is_alive:
                    return taken
                # It ended while it waited; nobody has lost anything.
                taken.end()
        raise DecoderLost(Loss.NOT_READY)

    def close(self) -> None:
        """End the nursery, and its decoders with it. Who waits for one gets DecoderLost."""
        self._closed = True
        connection = self._connection
        if connection is not None:
            # Whoever starts it anew just now may have closed it.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with self._taking:
            self._stop()

    def _take(self) -> DecoderProcess | None:
        """None: the nursery is gone. Raises DecoderLost if it gives none in time, or is closed."""
        connection = self._connection
        if self._closed or connection is None:
            raise DecoderLost(None)
        try:
            said, descriptors, _, _ = socket.recv_fds(connection, len(READY), 3)
            if said != READY:
                return None
            connection.sendall(TAKEN)
        except TimeoutError as error:
            raise DecoderLost(Loss.NOT_READY) from error
        except OSError:
            return None

        if len(descriptors) < 3:
            for descriptor in descriptors:
                os.close(descriptor)
            raise DecoderLost(Loss.NOT_READY)  # this process has too many descriptors open
        ours, pictures, pidfd = descriptors
        return DecoderProcess(socket.socket(fileno=ours), pictures=pictures, pidfd=pidfd, deadline_s=self._deadline_s)

    def _take_of_fresh(self) -> DecoderProcess:
        """After the nursery died, and all decoders with it. Raises DecoderLost."""
        if self._closed:
            raise DecoderLost(None)
        logger.error("the decoders' nursery has died; it is started anew")
        self._metrics.nursery_restarts.inc()
        self._stop()
        self._start()
        taken = self._take()
        if taken is None:
            raise DecoderLost(Loss.NOT_READY)
        return taken

    def _is_ready(self) -> bool:
        connection = self._connection
        if connection is None:
            return False
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        arrived = poll.poll(START_PATIENCE_S * 1_000)
        return bool(arrived) and not arrived[0][1] & select.POLLHUP

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(START_PATIENCE_S)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                # -P: no module is taken from the folder where somebody happened to start the worker.
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno()), str(self._memory_bytes)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _ONE_THREAD,
            )
        self._connection = ours

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
