"""Inputs near good ones, as attackers and broken senders make them; a seed always makes the same.

Deterministic on purpose: an input that fails is named by its target and its number, and is then kept in `corpus`.
"""

import random
from collections.abc import Sequence

MAX_BYTES = 64 * 1024
MAX_MISTAKES = 6

_STRANGE = (
    b"\0", b"\xff", b"\r\n", b"\n", b"a=", b"m=", b":", b" ", b"0", b"99999999999999999999", b"-1", b"\xc2\xa0", b"%",
    b"\xd9\xa3", b"/", b'"', b"{", b"[", b"}", b"e999", b"null", b"true", b"NaN", b"\\ud800", b"\x80\0\0\0", b"\0\0\1",
    b"\x7f\xff\xff\xff", b"\0\0\3", b"&a", b"*a", b"!!x", b"\t", b"\xe2\x80\xa8", b"\xed\xa0\x80",
)  # fmt: skip


def mutated(corpus: Sequence[bytes], seed: str) -> bytes:
    """One of the corpus with one to `MAX_MISTAKES` mistakes, at most `MAX_BYTES` long."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, MAX_MISTAKES)):
        _make_a_mistake(data, chance, corpus)
        del data[MAX_BYTES:]
    return bytes(data)


def _make_a_mistake(data: bytearray, chance: random.Random, corpus: Sequence[bytes]) -> None:
    at = chance.randint(0, len(data))
    end = min(len(data), at + chance.choice((1, 2, 4, 40)))
    match chance.randrange(9):
        case 0 if data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        case 1 if data:
            data[at % len(data)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        case 2:
            data[at:at] = chance.choice(_STRANGE)
        case 3:
            del data[at:end]
        case 4:
            data[at:at] = data[at:end] * chance.choice((1, 2, 30))
        case 5:
            lines = bytes(data).split(b"\n")
            chance.shuffle(lines)
            data[:] = b"\n".join(lines)
        case 6:
            other = chance.choice(corpus)
            data[at:] = other[chance.randint(0, len(other)) :]
        case 7 if chance.random() < 0.3:
            del data[at:]
        case _:
            data[at:end] = chance.randbytes(end - at)
