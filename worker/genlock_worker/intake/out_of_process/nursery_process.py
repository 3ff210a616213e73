"""The nursery: a process that has imported what decoding needs, has one thread, and forks decoders.

It keeps one decoder ready. That one's socket, memory and pidfd wait in the socket to the worker, which says with a byte
that it took them; then the nursery forks the next one. It ends when the worker is gone, and its decoders end with it.
"""

import gc
import os
import signal
import socket
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from genlock_core.spec.session import MAX_PICTURE_BYTES
from genlock_worker.intake.out_of_process import child, limits
from genlock_worker.intake.out_of_process.warm_up import warm_up

READY: Final = b"r"
"""Comes with the descriptors of a decoder: its socket, its pictures' memory, its pidfd."""
TAKEN: Final = b"t"
NO_FORK: Final = b"n"
"""Said once for each decoder that the system refuses at first: the nursery tries on, and does not hang."""
FORK_AGAIN_S: Final = 0.5
"""After a fork that the system refused: it has too many processes, or too little memory."""
_TASKS: Final = Path("/proc/self/task")


class NurseryProcess:
    """Forks decoders that may have `memory_bytes` each, besides what they share with the nursery."""

    def __init__(self, worker: socket.socket, *, memory_bytes: int) -> None:
        self._worker = worker
        self._memory_bytes = memory_bytes

    def run(self) -> None:
        """Until the worker is gone."""
        with suppress(ConnectionError):
            while True:
                self._offer_spare()
                if not self._worker.recv(1):
                    return

    def _offer_spare(self) -> None:
        ours, theirs = socket.socketpair()
        with (
            ours,
            theirs,
            closing(_Descriptor(os.memfd_create("pictures", os.MFD_CLOEXEC))) as pictures,
            closing(_Descriptor(self._forked(theirs, pictures.number))) as pidfd,
        ):
            socket.send_fds(self._worker, [READY], [ours.fileno(), pictures.number, pidfd.number])

    def _forked(self, connection: socket.socket, pictures: int) -> int:
        """The pidfd of a new decoder."""
        # Until there is a pidfd, its pid must not become another process's: nobody reaps it meanwhile.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            return os.pidfd_open(self._fork(connection, pictures))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _fork(self, connection: socket.socket, pictures: int) -> int:
        parent = os.getpid()
        is_told = False
        while True:
            try:
                pid = os.fork()
            except OSError:
                if not is_told:
                    self._worker.sendall(NO_FORK)
                    is_told = True
                # Those that have ended count as processes until they are reaped.
                _reap()
                time.sleep(FORK_AGAIN_S)
                continue
            if pid == 0:
                self._be_decoder(parent, connection, pictures)
            return pid

    def _be_decoder(self, parent: int, connection: socket.socket, pictures: int) -> None:
        """In the child; does not return."""
        status = 1
        try:
            limits.die_with(parent)
            limits.close_others(connection.fileno(), pictures)
            limits.confine(
                address_space_bytes=limits.address_space() + self._memory_bytes, file_bytes=MAX_PICTURE_BYTES
            )
            status = child.run(connection, pictures)
        finally:
            # Nothing of the nursery's is to be finished here, and nobody is to be told.
            os._exit(status)


class _Descriptor:
    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        os.close(self.number)


def _reap(*_: object) -> None:
    """Let decoders that have ended be forgotten; the worker sees their end at their sockets."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """`python -m genlock_worker.intake.out_of_process.nursery_process DESCRIPTOR BYTES`."""
    descriptor, memory_bytes = map(int, sys.argv[1:])

    # Who ends the worker's whole group means the worker: that drains, and needs its decoders meanwhile.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _reap)

    warm_up()
    if len(list(_TASKS.iterdir())) > 1:
        raise RuntimeError("the nursery has more than one thread, so it cannot fork")
    # What never changes stays shared: a collection would write to each object.
    gc.collect()
    gc.freeze()
    NurseryProcess(socket.socket(fileno=descriptor), memory_bytes=memory_bytes).run()


if __name__ == "__main__":
    main()
