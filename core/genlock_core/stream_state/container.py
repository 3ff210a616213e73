"""The envelope of all snapshot parts, the same in every format: magic, format, kind, length, SHA-256, payload.

It is what lets a worker refuse a part that is cut, damaged or too new before it looks inside.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

MAGIC = b"GLSNAP\r\n"
"""With a line end in it, so that a transfer that changes line ends is noticed."""
MAX_PART_BYTES = 32 * 1024 * 1024
"""Longest part, envelope and all."""

_PREFIX = Struct("<8sHBQ")
_DIGEST_BYTES = 32


class PartKind(IntEnum):
    HEAD = 1
    BLOCK = 2


class BrokenPart(ValueError):
    """Bytes that are not a whole, undamaged part; says why."""


@dataclass(frozen=True, slots=True)
class Part:
    format: int
    kind: PartKind
    digest: str
    payload: bytes


def seal(format_number: int, kind: PartKind, payload: bytes) -> tuple[bytes, str]:
    """The part as bytes, and its digest (hex). Raises BrokenPart if it is too long."""
    prefix = _PREFIX.pack(MAGIC, format_number, kind, len(payload))
    if len(prefix) + _DIGEST_BYTES + len(payload) > MAX_PART_BYTES:
        raise BrokenPart(f"a part of {len(payload)} bytes is too large, at most {MAX_PART_BYTES} may be")
    digest = hashlib.sha256(prefix + payload).digest()
    return prefix + digest + payload, digest.hex()


def unseal(data: bytes, kind: PartKind) -> Part:
    """Check a part and open it. Raises BrokenPart."""
    if len(data) > MAX_PART_BYTES:
        raise BrokenPart(f"{len(data)} bytes are too large, at most {MAX_PART_BYTES} may be")
    if len(data) < _PREFIX.size + _DIGEST_BYTES:
        raise BrokenPart(f"truncated: {len(data)} bytes are less than an envelope")
    magic, format_number, found, length = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise BrokenPart("not a part of a snapshot")
    payload = data[_PREFIX.size + _DIGEST_BYTES :]
    if len(payload) != length:
        raise BrokenPart(f"truncated: {len(payload)} bytes of {length}")
    digest = data[_PREFIX.size : _PREFIX.size + _DIGEST_BYTES]
    if hashlib.sha256(data[: _PREFIX.size] + payload).digest() != digest:
        raise BrokenPart("corrupt: its digest is another one")
    if found != kind:
        raise BrokenPart(f"part of kind {found} where {kind.name} belongs")
    return Part(format_number, kind, digest.hex(), payload)
