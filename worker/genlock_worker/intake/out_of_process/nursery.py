"""The worker's end of the nursery: starts its process, takes decoders from it, starts it anew if it dies.

A worker has threads, perhaps a GPU, and secrets in its environment. So it is never forked: the nursery is a fresh
process, whose environment has only what Python needs to start.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from typing import Final

from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_core.metrics import WorkerMetrics
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.out_of_process.decoder import SessionDecoders
from genlock_worker.intake.out_of_process.nursery_process import NO_FORK, READY, TAKEN
from genlock_worker.intake.out_of_process.process import DEADLINE_S, DecoderLost, DecoderProcess, Loss
from genlock_worker.intake.out_of_process.warm_up import WARM_UP_UNITS
from genlock_worker.intake.out_of_process.wire import Decode, Fetch

logger = logging.getLogger(__name__)

MEMORY_BYTES: Final = 512 * 1024 * 1024
"""Of address space that a decoder's process may take besides what it starts with: `PICTURES_LIMIT` twice (what later
pictures refer to, and what is held back), `KEPT_LIMIT`, the largest picture in RGB twice (converted and copied), and
what libavcodec keeps beside its pictures."""
START_PATIENCE_S: Final = 15.0
"""For the first decoder of a fresh nursery, which imports for half a second on a quiet machine. One that gives none
for so long, and does not say why, hangs."""
SPARES_TRIED: Final = 3
"""A spare may have ended while it waited; where they all do, something is wrong with this system."""

_PASSED_ON: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "HOME", "TMPDIR")
"""Of the worker's environment. Its secrets are in there too."""
_ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Numeric libraries start threads when they are imported."""
_MODULE: Final = "genlock_worker.intake.out_of_process.nursery_process"


_PROOF: Final = Fetch(0, 48, 80, PictureFit.CROP)
"""The picture that shows that decoders work here."""


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
        """None: there is no nursery, the next who takes starts one."""
        self._cannot_fork = False
        """It said so, and has given no decoder since."""

    def start(self) -> None:
        """Start its process, which is ready a moment later. Raises NurseryFailed where there can be none."""
        if not sys.platform.startswith("linux"):
            raise NurseryFailed("--decode-process needs Linux; leave it out")
        try:
            self._start()
        except OSError as error:
            raise NurseryFailed(
                f"the decoders' nursery cannot be started ({error}); --decode-process=no does without"
            ) from error

    async def ready(self) -> None:
        """Wait until a decoder has decoded a picture. Raises NurseryFailed."""
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
        if self._closed:
            raise DecoderLost(None)
        connection = self._connection
        if connection is None:
            return None
        try:
            return self._receive(connection)
        except TimeoutError as error:
            # One that cannot fork serves its other decoders well.
            if not self._cannot_fork:
                logger.error("the decoders' nursery hangs; it is ended, and all its decoders with it")
                self._stop()
            raise DecoderLost(Loss.NOT_READY) from error
        except OSError:
            return None

    def _receive(self, connection: socket.socket) -> DecoderProcess | None:
        """As `_take`. Raises TimeoutError, OSError, DecoderLost; what it has received is closed then."""
        with ExitStack() as unowned:
            said = NO_FORK
            while said == NO_FORK:
                said, descriptors, _, _ = socket.recv_fds(connection, len(READY), 3)
                for descriptor in descriptors:
                    unowned.callback(os.close, descriptor)
                self._cannot_fork = said == NO_FORK
            if said != READY:
                return None

            connection.sendall(TAKEN)
            if len(descriptors) < 3:
                raise DecoderLost(Loss.NOT_READY)  # this process has too many descriptors open
            ours, pictures, pidfd = descriptors
            taken = DecoderProcess(
                socket.socket(fileno=ours), pictures=pictures, pidfd=pidfd, deadline_s=self._deadline_s
            )
            unowned.pop_all()
            return taken

    def _take_of_fresh(self) -> DecoderProcess:
        """After the nursery ended, and all decoders with it. Raises DecoderLost."""
        if self._closed:
            raise DecoderLost(None)
        logger.error("the decoders' nursery has ended; it is started anew")
        self._stop()
        try:
            self._start()
        except OSError as error:
            logger.error("the decoders' nursery cannot be started: %s", error)
            raise DecoderLost(Loss.NOT_READY) from error

        self._metrics.nursery_restarts.inc()
        taken = self._take()
        if taken is None:
            raise DecoderLost(Loss.NOT_READY)
        return taken

    def _is_ready(self) -> bool:
        """Whether a decoder comes, can be confined, and decodes."""
        try:
            process = self.take()
        except DecoderLost:
            return False

        try:
            process.ask(Decode(WARM_UP_UNITS[0], after_gap=False))
            process.picture(_PROOF)
        except DecoderLost as lost:
            logger.error("a decoder's process gave no picture (%s)", lost)
            return False
        finally:
            process.end()
        return True

    def _start(self) -> None:
        """Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as unowned:
            unowned.enter_context(ours)
            ours.settimeout(START_PATIENCE_S)
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                # -P: no module is taken from the folder where somebody happened to start the worker.
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno()), str(self._memory_bytes)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _ONE_THREAD,
            )
            unowned.pop_all()
        self._connection = ours
        self._cannot_fork = False

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
