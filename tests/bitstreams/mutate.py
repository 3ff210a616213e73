"""Small faults in a stream of packets, as networks, encoders and attackers make them; a seed always makes the same."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from tests.bitstreams.rtp import Sent

MAX_FAULTS = 6

Fault: TypeAlias = Callable[[list[Sent], int, random.Random], None]


def mutated(sent: Sequence[Sent], seed: int) -> list[Sent]:
    """The packets with one to `MAX_FAULTS` faults."""
    chance = random.Random(seed)
    packets = list(sent)
    for _ in range(chance.randint(1, MAX_FAULTS)):
        if packets:
            chance.choice(_FAULTS)(packets, chance.randrange(len(packets)), chance)
    return packets


def _flip_bits(packets: list[Sent], at: int, chance: random.Random) -> None:
    payload = bytearray(packets[at].payload)
    for _ in range(chance.randint(1, 8)):
        # Headers stand in front: half of the faults hit them.
        place = chance.randrange(min(len(payload), chance.choice((12, len(payload))) or 1)) if payload else None
        if place is not None:
            payload[place] ^= 1 << chance.randrange(8)
    packets[at] = replace(packets[at], payload=bytes(payload))


def _cut(packets: list[Sent], at: int, chance: random.Random) -> None:
    payload = packets[at].payload
    packets[at] = replace(packets[at], payload=payload[: chance.randint(0, len(payload))])


def _fill(packets: list[Sent], at: int, chance: random.Random) -> None:
    filling = chance.choice((b"\x00", b"\xff", b"\x00\x00\x01")) * chance.randint(1, 400)
    packets[at] = replace(packets[at], payload=packets[at].payload[:2] + filling)


def _lose(packets: list[Sent], at: int, chance: random.Random) -> None:
    del packets[at : at + chance.choice((1, 1, 1, 4, 30))]


def _double(packets: list[Sent], at: int, chance: random.Random) -> None:
    packets[at:at] = [packets[at]] * chance.choice((1, 1, 3))


def _swap(packets: list[Sent], at: int, chance: random.Random) -> None:
    """The order on the wire changes; each packet stays in its turn."""
    other = chance.randrange(len(packets))
    first, second = packets[at], packets[other]
    packets[at] = replace(second, turn=first.turn)
    packets[other] = replace(first, turn=second.turn)


def _mark(packets: list[Sent], at: int, chance: random.Random) -> None:
    for place in range(at, min(len(packets), at + chance.choice((1, 5, 50)))):
        packets[place] = replace(packets[place], marker=not packets[place].marker)


def _shift_time(packets: list[Sent], at: int, chance: random.Random) -> None:
    """From here on, or for one packet only."""
    step = chance.choice((1, -1, 3_000, -3_000, -90_000, 2**31, chance.randrange(2**32)))
    for place in range(at, len(packets) if chance.random() < 0.5 else at + 1):
        packets[place] = replace(packets[place], timestamp=(packets[place].timestamp + step) % 2**32)


def _stop_time(packets: list[Sent], at: int, _chance: random.Random) -> None:
    """Everything from here on has one timestamp."""
    packets[at:] = [replace(packet, timestamp=packets[at].timestamp) for packet in packets[at:]]


def _jump(packets: list[Sent], at: int, chance: random.Random) -> None:
    step = chance.choice((1, 2, 600, 32_768, -600, chance.randrange(2**16)))
    packets[at:] = [replace(packet, sequence=(packet.sequence + step) % 2**16) for packet in packets[at:]]


def _other_stream(packets: list[Sent], at: int, chance: random.Random) -> None:
    ssrc, end = chance.randint(1, 9), at + chance.choice((1, 20, len(packets)))
    packets[at:end] = [replace(packet, ssrc=ssrc) for packet in packets[at:end]]


def _transplant(packets: list[Sent], at: int, chance: random.Random) -> None:
    packets[at] = replace(packets[at], payload=chance.choice(packets).payload)


_FAULTS: tuple[Fault, ...] = (
    _flip_bits,
    _flip_bits,
    _cut,
    _fill,
    _lose,
    _double,
    _swap,
    _mark,
    _shift_time,
    _stop_time,
    _jump,
    _other_stream,
    _transplant,
)
