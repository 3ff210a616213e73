"""Judges what a viewer received as one RTP stream: its numbers and timestamps go on, whoever made the pictures.

The network may lose and reorder packets, above all on a busy machine. That is no mistake of the sender, so packets are
judged in the order of their sequence numbers, and the retransmission of a lost packet stands in its place.
"""

import itertools
from collections.abc import Iterable

from aiortc.rtp import RtpPacket, unwrap_rtx


def mistakes(packets: Iterable[RtpPacket], *, rtx_ssrc: int | None) -> list[str]:
    """What is wrong with the stream, in words; nothing if all is well. `rtx_ssrc` is that of the retransmissions."""
    packets = list(packets)
    originals = [packet for packet in packets if packet.ssrc != rtx_ssrc]
    ssrcs = {packet.ssrc for packet in originals}
    if len(ssrcs) != 1:
        return [f"one stream has one SSRC, this one has {len(ssrcs)}"]

    found: list[str] = []
    timestamps: dict[int, int] = {}
    highest = originals[0].sequence_number
    for packet in packets:
        if packet.ssrc == rtx_ssrc:
            packet = unwrap_rtx(packet, payload_type=originals[0].payload_type, ssrc=originals[0].ssrc)
        number = highest + _signed(packet.sequence_number - highest, bits=16)
        highest = max(highest, number)
        if timestamps.setdefault(number, packet.timestamp) != packet.timestamp:
            found.append(f"number {number} came for two pictures")

    numbers = sorted(timestamps)
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing:
        found.append(f"{missing} numbers never came")
    for before, after in itertools.pairwise(numbers):
        step = _signed(timestamps[after] - timestamps[before], bits=32)
        if step < 0:
            found.append(f"the timestamp goes back by {-step} at number {after}")
    return found


def _signed(difference: int, *, bits: int) -> int:
    """A difference of two counters that wrap after `bits` bits."""
    half = 1 << bits - 1
    return (difference + half) % (1 << bits) - half
