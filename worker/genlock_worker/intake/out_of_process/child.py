"""A decoder's process: one `decode.Decoder`, asked over a socket. What it decodes it puts into the shared memory.

It serves one publication and is thrown away. It waits without a deadline: who asks it has one, and kills it.
"""

import os
import socket
from collections.abc import Sequence

import cv2

from genlock_core.bounds import Holdings
from genlock_worker.intake.decode import KEPT_LIMIT, PICTURES_LIMIT, Decoder, LocalFrame
from genlock_worker.intake.out_of_process.wire import (
    MAX_FRAMES,
    Answer,
    Decode,
    Decoded,
    Drain,
    Fetch,
    Fetched,
    FrameFacts,
    OutOfMemory,
    Request,
    pack_answer,
    read_request,
)


class DecoderChild:
    """Answers one worker until that closes the socket."""

    def __init__(self, connection: socket.socket, pictures: int) -> None:
        """`pictures`: the descriptor of the memory that the worker reads pictures from."""
        self._connection = connection
        self._pictures = pictures
        self._holdings = Holdings()
        self._decoder: Decoder | None = None
        self._frames: list[LocalFrame] = []
        """Those of the last answer."""

    def serve(self) -> None:
        """Until the worker closes the socket (EOFError), or the memory that it may have is used up."""
        while True:
            try:
                answer = self._answer(read_request(self._read))
            except MemoryError:
                answer = OutOfMemory()
            except cv2.error as error:
                if error.code != cv2.Error.STS_NO_MEM:
                    raise
                answer = OutOfMemory()

            self._connection.sendall(pack_answer(answer))
            if isinstance(answer, OutOfMemory):
                return

    def _answer(self, request: Request) -> Answer:
        match request:
            case Decode():
                return self._decode(request)
            case Drain():
                return self._decoded([] if self._decoder is None else self._decoder.drain(), ahead=None)
            case Fetch():
                self._fetch(request)
                return Fetched()

    def _decode(self, request: Decode) -> Answer:
        if self._decoder is None:
            self._decoder = Decoder(request.unit.codec, holdings=self._holdings)
        elif request.after_gap:
            self._decoder.gap()
        self._frames.clear()
        return self._decoded(self._decoder.decode(request.unit), ahead=request.ahead)

    def _decoded(self, frames: Sequence[LocalFrame], *, ahead: Fetch | None) -> Answer:
        decoder = self._decoder
        if decoder is not None and decoder.out_of_memory:
            return OutOfMemory()

        self._frames = [frame for frame in frames if frame.pts is not None][:MAX_FRAMES]
        is_fetched = ahead is not None and ahead.frame < len(self._frames)
        if ahead is not None and is_fetched:
            self._fetch(ahead)

        held = {bound.limit: bound.held for bound in self._holdings.bounds}
        return Decoded(
            needs_key_frame=decoder is None or decoder.needs_key_frame,
            holds=decoder is not None and decoder.holds,
            is_fetched=is_fetched,
            trouble=None if decoder is None else decoder.trouble,
            picture_bytes=held.get(PICTURES_LIMIT, 0),
            kept_bytes=held.get(KEPT_LIMIT, 0),
            frames=tuple(FrameFacts(frame.pts or 0, frame.width, frame.height) for frame in self._frames),
        )

    def _fetch(self, wanted: Fetch) -> None:
        picture = self._frames[wanted.frame].fitted(width=wanted.width, height=wanted.height, fit=wanted.fit)
        left = picture.data.cast("B")
        at = 0
        while at < len(left):
            at += os.pwrite(self._pictures, left[at:], at)

    def _read(self, size: int) -> bytes:
        """Raises EOFError."""
        data = bytearray(size)
        view = memoryview(data)
        while view:
            received = self._connection.recv_into(view)
            if not received:
                raise EOFError
            view = view[received:]
        return bytes(data)


def run(connection: socket.socket, pictures: int) -> int:
    """Serve; the exit status."""
    # One thread: a limit on address space counts the stacks of others.
    cv2.setNumThreads(0)
    try:
        DecoderChild(connection, pictures).serve()
    except (EOFError, ConnectionError):
        return 0
    except Exception:  # noqa: BLE001 - whatever it is, the worker sees that this process has ended
        return 1
    return 0
