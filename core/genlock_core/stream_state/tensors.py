"""Snapshot format 1: named arrays and JSON facts as one safetensors file. Nothing in it can run code.

Payload bounds are checked before anything is parsed; what is read has only the dtypes of `DTYPES`.
"""

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

Tensors = Mapping[str, NDArray[np.generic]]
"""Arrays by name; those that were read are read-only."""

DTYPES: Mapping[str, str] = {
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "BOOL": "bool",
}
"""safetensors' names and numpy's of what a snapshot may hold (bfloat16 goes as uint16)."""
MAX_HEADER_BYTES = 1024 * 1024
MAX_TENSORS = 4_096

_FACTS = "genlock"
_RESERVED = "__metadata__"
_LENGTH_BYTES = 8


class UnreadableTensors(ValueError):
    """Arrays that cannot be stored, or bytes that are not arrays; says why."""


def pack(facts: Mapping[str, object], tensors: Tensors) -> bytes:
    """Raises UnreadableTensors for a dtype that is not in DTYPES, too many arrays, or facts that are not JSON."""
    if len(tensors) > MAX_TENSORS or _RESERVED in tensors:
        raise UnreadableTensors(f"{len(tensors)} arrays, at most {MAX_TENSORS}, and none called {_RESERVED}")
    for name, array in tensors.items():
        if array.dtype.name not in DTYPES.values():
            raise UnreadableTensors(f"array {name!r} has dtype {array.dtype.name}, which no snapshot may hold")
    try:
        text = json.dumps(facts, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise UnreadableTensors(f"the facts are not JSON: {error}") from None
    # safetensors reads the memory behind the array as it lies there.
    return save({name: np.asarray(array, order="C") for name, array in tensors.items()}, {_FACTS: text})


def unpack(payload: bytes) -> tuple[dict[str, object], Tensors]:
    """The inverse. Raises UnreadableTensors."""
    try:
        facts = _check_header(payload)
        tensors = load(payload)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise UnreadableTensors(f"not a safetensors file: {error}") from None
    for array in tensors.values():
        array.setflags(write=False)
    return facts, tensors


def _check_header(payload: bytes) -> dict[str, object]:
    """The facts, after a look at every array's dtype."""
    length = int.from_bytes(payload[:_LENGTH_BYTES], "little")
    if length > min(MAX_HEADER_BYTES, len(payload) - _LENGTH_BYTES):
        raise ValueError(f"a header of {length} bytes")
    header = json.loads(payload[_LENGTH_BYTES : _LENGTH_BYTES + length])
    metadata = header.pop(_RESERVED)
    if len(header) > MAX_TENSORS:
        raise ValueError(f"{len(header)} arrays")
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"array {name!r} has dtype {entry['dtype']}")
    facts = json.loads(metadata[_FACTS])
    if not isinstance(facts, dict):
        raise TypeError("the facts are not an object")
    return facts
