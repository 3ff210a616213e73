"""Coded pictures as RTP packets, in the ways in which publishers send them (RFC 6184, RFC 7741).

Not with the product's packetiser: what it never sends is what is wanted here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal, TypeAlias

from tests.bitstreams.clips import CodedPicture

MTU = 300
"""Small, so that small pictures take several packets."""
TICKS = 3_000
"""Of the RTP clock, from a picture to the next at 30 a second."""

Markers: TypeAlias = Literal["last", "each-nal", "none"]


@dataclass(frozen=True, slots=True)
class Sent:
    """An RTP packet, and the turn (a picture's time) in which it is sent."""

    turn: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    ssrc: int = 1


def h264_packets(
    pictures: Iterable[CodedPicture],
    *,
    markers: Markers = "last",
    aggregate: bool = False,
    edit: Callable[[int, list[bytes]], list[bytes]] = lambda _place, nals: nals,
    own_time: frozenset[int] = frozenset(),
    ssrc: int = 1,
) -> list[Sent]:
    """`edit` changes the NAL units of the picture at a place; those of the kinds in `own_time` go under a timestamp of
    their own, before the picture's. `aggregate`: what is small goes together (STAP-A)."""
    sent: list[Sent] = []
    for place, picture in enumerate(pictures):
        timestamp = (picture.number + 1) * TICKS
        nals = edit(place, list(picture.nals))
        apart = [nal for nal in nals if nal[0] & 31 in own_time]
        together = [nal for nal in nals if nal[0] & 31 not in own_time]
        for when, group in ((timestamp - TICKS // 3, apart), (timestamp, together)):
            payloads = _payloads(group, aggregate=aggregate)
            for number, (payload, ends_nal) in enumerate(payloads):
                is_last = number == len(payloads) - 1
                marker = {"last": is_last, "each-nal": ends_nal, "none": False}[markers]
                sent.append(Sent(place, len(sent), when, marker, payload, ssrc))
    return sent


def vp8_packets(pictures: Iterable[CodedPicture], *, markers: Markers = "last", ssrc: int = 1) -> list[Sent]:
    sent: list[Sent] = []
    for place, picture in enumerate(pictures):
        data = picture.data
        pieces = [data[at : at + MTU] for at in range(0, len(data), MTU)]
        for number, piece in enumerate(pieces):
            marker = markers == "last" and number == len(pieces) - 1
            descriptor = b"\x10" if number == 0 else b"\x00"
            timestamp = (picture.number + 1) * TICKS
            sent.append(Sent(place, len(sent), timestamp, marker, descriptor + piece, ssrc))
    return sent


def from_turn(sent: Sequence[Sent], first: int) -> list[Sent]:
    """As somebody sees it who comes later."""
    return [packet for packet in sent if packet.turn >= first]


def without(sent: Sequence[Sent], lost: Callable[[int, Sent], bool]) -> list[Sent]:
    """Without the packets that are lost; the numbers of the others stay."""
    return [packet for number, packet in enumerate(sent) if not lost(number, packet)]


def renumbered(sent: Sequence[Sent]) -> list[Sent]:
    """As if nothing had been left out."""
    numbers = count()
    return [replace(packet, sequence=next(numbers)) for packet in sent]


def _payloads(nals: list[bytes], *, aggregate: bool) -> list[tuple[bytes, bool]]:
    """Payloads, and whether a NAL unit ends with each."""
    made: list[tuple[bytes, bool]] = []
    waiting: list[bytes] = []

    def flush() -> None:
        if len(waiting) == 1:
            made.append((waiting[0], True))
        elif waiting:
            made.append((b"\x78" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in waiting), True))
        waiting.clear()

    for nal in nals:
        if len(nal) <= MTU:
            waiting.append(nal)
            if not aggregate or sum(map(len, waiting)) > MTU:
                flush()
            continue
        flush()
        pieces = [nal[at : at + MTU] for at in range(1, len(nal), MTU)]
        for number, piece in enumerate(pieces):
            is_last = number == len(pieces) - 1
            bits = (0x80 if number == 0 else 0) | (0x40 if is_last else 0)
            made.append((bytes([nal[0] & 0xE0 | 28, bits | nal[0] & 0x1F]) + piece, is_last))
    flush()
    return made
