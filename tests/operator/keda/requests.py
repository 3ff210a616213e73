"""What KEDA sends, put together here by the rules of protobuf, field by field."""

import struct

from genlock_operator.keda.wire import ScaledObject


def varint(number: int) -> bytes:
    """https://protobuf.dev/programming-guides/encoding/#varints"""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def text(field: int, value: str | bytes) -> bytes:
    """A string or a message: wire type 2, its length, its bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def whole(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def reference(asking: ScaledObject) -> bytes:
    entries = (text(3, text(1, key) + text(2, value)) for key, value in asking.metadata.items())
    return text(1, asking.name) + text(2, asking.namespace) + b"".join(entries)


def metric_wanted(asking: ScaledObject, metric: str) -> bytes:
    return text(1, reference(asking)) + text(2, metric)


def workers_of(namespace: str, pool: str) -> bytes:
    """GetMetrics' request for the number of workers of a pool."""
    return metric_wanted(ScaledObject("follow", namespace, {"pool": pool}), "workers")
