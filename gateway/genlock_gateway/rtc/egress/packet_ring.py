"""The last packets of a stream, kept once for the retransmissions of all its viewers."""

from dataclasses import dataclass

RING_PACKETS = 1024
"""About two seconds of a 4 Mbit/s stream: longer than any retransmission is of use."""


@dataclass(frozen=True, slots=True)
class StreamPacket:
    """One packet before it becomes a viewer's own; `index` counts packets of the stream and never wraps."""

    index: int
    timestamp: int
    marker: bool
    payload: bytes


class PacketRing:
    """Packets by index; a new one takes the place of the one `RING_PACKETS` before it."""

    def __init__(self, size: int = RING_PACKETS) -> None:
        self._slots: list[StreamPacket | None] = [None] * size

    def __len__(self) -> int:
        return sum(packet is not None for packet in self._slots)

    def put(self, packet: StreamPacket) -> None:
        self._slots[packet.index % len(self._slots)] = packet

    def get(self, index: int) -> StreamPacket | None:
        """The packet of that index, or None if it is not there any more or never was."""
        packet = self._slots[index % len(self._slots)]
        return packet if packet is not None and packet.index == index else None

    def clear(self) -> None:
        self._slots = [None] * len(self._slots)
