"""The worker's end of one decoder's process: what it is asked has a deadline, and its end is the worker's to order.

Whatever the process does, nothing here waits longer than the deadline, reads more than it asked for, or touches memory
that the process could take away: pictures are read from the memfd by a call (`preadv`), which comes back short where a
mapping would kill the worker.
"""

import os
import select
import signal
import socket
import threading
import time
from contextlib import suppress
from enum import StrEnum
from typing import Final

import numpy as np

from genlock_worker.intake.out_of_process.wire import (
    Answer,
    Fetch,
    Fetched,
    Garbled,
    OutOfMemory,
    Request,
    pack_request,
    read_answer,
)
from genlock_worker.intake.picture import Picture

DEADLINE_S: Final = 5.0
"""For one answer. A picture takes milliseconds; a machine that is a thousand times slower is not
the decoder's fault."""


class Loss(StrEnum):
    """How a decoder's process was lost; the word is what metrics and logs get."""

    DIED = "died"
    """It has ended: by a signal, most likely."""
    MEMORY = "memory"
    """It was refused memory beyond its limit."""
    HUNG = "hung"
    """No answer came by the deadline."""
    GARBLED = "garbled"
    """What came is no answer."""
    NOT_READY = "not-ready"
    """The nursery gave none in time."""


class DecoderLost(Exception):
    """The process is of no use any more. `loss` None: the worker itself has ended it."""

    def __init__(self, loss: Loss | None) -> None:
        super().__init__("it was ended" if loss is None else loss.value)
        self.loss = loss


class DecoderProcess:
    """One decoder's process. Asked by one thread at a time; ended (`end`) by any, once or more often."""

    def __init__(self, connection: socket.socket, *, pictures: int, pidfd: int, deadline_s: float = DEADLINE_S) -> None:
        """Owns the socket and both descriptors from now on."""
        self._connection = connection
        self._pictures = pictures
        self._pidfd = pidfd
        self._deadline_s = deadline_s
        self._due_s = 0.0
        self._calls = threading.Lock()
        """Held while the process is asked: descriptors stay open so long."""
        self._ending = threading.Lock()
        self._ended = False

    @property
    def is_alive(self) -> bool:
        """Whether its process is there; a spare may have ended while it waited."""
        # A pidfd can be read once its process has ended.
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    def ask(self, request: Request) -> Answer:
        """Raises DecoderLost."""
        with self._calls:
            return self._ask(request)

    def picture(self, wanted: Fetch, *, is_fetched: bool = False) -> Picture:
        """The picture that it puts into the shared memory, or has put there (`is_fetched`). Raises DecoderLost."""
        picture = np.empty((wanted.height, wanted.width, 3), np.uint8)
        with self._calls:
            if self._ended:
                raise DecoderLost(None)
            if not is_fetched and not isinstance(self._ask(wanted), Fetched):
                raise DecoderLost(Loss.GARBLED)
            if os.preadv(self._pictures, [picture.data.cast("B")], 0) != picture.nbytes:
                raise DecoderLost(Loss.GARBLED)
        return picture

    def _ask(self, request: Request) -> Answer:
        if self._ended:
            raise DecoderLost(None)

        self._due_s = time.monotonic() + self._deadline_s
        try:
            self._connection.settimeout(self._deadline_s)
            self._connection.sendall(pack_request(request))
            answer = read_answer(self._read)
        except TimeoutError as error:
            raise self._lost(Loss.HUNG) from error
        except (EOFError, OSError) as error:
            raise self._lost(Loss.DIED) from error
        except Garbled as error:
            raise self._lost(Loss.GARBLED) from error
        if isinstance(answer, OutOfMemory):
            raise self._lost(Loss.MEMORY)
        return answer

    def _lost(self, loss: Loss) -> DecoderLost:
        return DecoderLost(None if self._ended else loss)

    def _read(self, size: int) -> bytes:
        """Raises TimeoutError, EOFError, OSError."""
        data = bytearray(size)
        view = memoryview(data)
        while view:
            # A process that sends byte by byte has no more time than any other.
            self._connection.settimeout(max(self._due_s - time.monotonic(), 0.001))
            received = self._connection.recv_into(view)
            if not received:
                raise EOFError
            view = view[received:]
        return bytes(data)

    def end(self) -> None:
        """Kill it and give everything back. Who asks it meanwhile is woken, and gets DecoderLost."""
        with self._ending:
            if self._ended:
                return
            self._ended = True

        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        with self._calls:
            self._connection.close()
            os.close(self._pictures)
            os.close(self._pidfd)
