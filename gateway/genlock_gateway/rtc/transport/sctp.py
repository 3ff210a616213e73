"""SCTP for the data channel, with bounds: aiortc's announces a window and takes what comes beyond it.

Here are the private names of aiortc 1.16 that this takes; the others stand in `aiortc_private`. A chunk that has no
place is dropped as if it were lost, so that an honest sender sends it again. A message without end, whose chunks come
in order, ends the association: waiting would not help.
"""

from typing import Final

from aiortc import RTCDtlsTransport, RTCSctpTransport
from aiortc.rtcsctptransport import DataChunk, ForwardTsnChunk

from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings

MAX_STREAMS: Final = 16
"""Data channels that a client may open; one is used. Each has a label of at most 64 KiB."""
MAX_AHEAD: Final = 1_024
"""How many chunks may be missing before one that is taken."""
WINDOW_BYTES: Final = 256 * 1024
"""What a sender may have under way: four of the largest messages."""
DATA_CHANNEL_LIMIT: Final = ByteLimit(
    "chunks of data channel messages that are not whole",
    2 * WINDOW_BYTES,
    each="peer, publisher or viewer",
    when_full="chunks out of order are dropped, as by a network; a message without end ends the association",
)


class SctpTransport(RTCSctpTransport):
    """aiortc's, which keeps no more of the peer's chunks than `DATA_CHANNEL_LIMIT`."""

    def __init__(self, transport: RTCDtlsTransport, *, port: int, holdings: Holdings) -> None:
        super().__init__(transport, port=port)
        self._inbound_streams_max = MAX_STREAMS
        self._advertised_rwnd = WINDOW_BYTES
        self._held = holdings.bound(DATA_CHANNEL_LIMIT)

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        ahead = (chunk.tsn - (self._last_received_tsn or 0)) & 0xFFFFFFFF
        cost = len(chunk.user_data) + OBJECT_BYTES
        is_next = ahead == 1
        if chunk.stream_id >= MAX_STREAMS or MAX_AHEAD < ahead < 0x80000000:
            self._sack_needed = True
            return
        # What is out of order leaves room for what it waits for.
        if not self._held.fits(cost if is_next else cost + DATA_CHANNEL_LIMIT.at_most // 2):
            if is_next:
                await self._abort()
            self._sack_needed = True
            return
        await super()._receive_data_chunk(chunk)
        self._count()

    async def _receive_forward_tsn_chunk(self, chunk: ForwardTsnChunk) -> None:
        chunk.streams = [(stream, sequence) for stream, sequence in chunk.streams if stream < MAX_STREAMS]
        await super()._receive_forward_tsn_chunk(chunk)
        self._count()

    def _count(self) -> None:
        chunks = [chunk for stream in self._inbound_streams.values() for chunk in stream.reassembly]
        self._held.hold(sum(len(chunk.user_data) for chunk in chunks) + OBJECT_BYTES * len(chunks))
