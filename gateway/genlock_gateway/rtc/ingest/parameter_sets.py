"""The parameter sets of one H264 stream, kept by their numbers, so that a decoder can start at any entry point.

Publishers send them once, or with each IDR, or only in the offer (`sprop-parameter-sets`, RFC 6184 section 8.1). They
may send several, of which a picture uses one of each kind (ITU-T H.264 section 7.4.1.2.1).
"""

import base64
import binascii
import itertools

from genlock_core.bitstreams.h264 import PPS, SPS, nal_type
from genlock_core.bitstreams.h264_headers import (
    PictureHeader,
    SequenceHeader,
    SliceHeader,
    read_picture_set,
    read_sequence_set,
)
from genlock_core.bitstreams.picture_size import sequence_mistake
from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings
from genlock_core.media import Trouble
from genlock_gateway.rtc.ingest.choice import MAX_CANDIDATES

MAX_SET_BYTES = 4_096
"""Scaling matrices and timing of 32 coded picture buffers fit."""
MAX_BYTES = 32 * 1024
SETS_LIMIT = ByteLimit(
    "parameter sets",
    MAX_BYTES,
    each="SSRC of a publisher that is looked at",
    when_full="those that were not sent for longest are forgotten",
    times=MAX_CANDIDATES,
)
MAX_SPROP_WORDS = 64

DECODABLE_PROFILES = frozenset({44, 66, 77, 100, 110, 122, 244})
"""`profile_idc` of what workers decode: Baseline, Main, High and its forms with more bits or colours.

Not Extended (88), nor the enhancement layers of scalable and multiview streams."""


class ParameterSets:
    """All that are known. `sprop` is the offer's list, in base64."""

    def __init__(self, sprop: str = "", *, holdings: Holdings | None = None) -> None:
        self._bytes = (holdings or Holdings()).bound(SETS_LIMIT)
        self._sequence: dict[int, tuple[SequenceHeader, bytes]] = {}
        self._picture: dict[int, tuple[PictureHeader, bytes]] = {}
        for word in sprop.split(",")[:MAX_SPROP_WORDS]:
            try:
                nal = base64.b64decode(word, validate=True)
            except (binascii.Error, ValueError):
                continue
            if nal:
                self.keep(nal)

    @property
    def nals(self) -> list[bytes]:
        """All of them, each SPS before each PPS, so that none is read before what it refers to."""
        return [nal for _, nal in (*self._sequence.values(), *self._picture.values())]

    def keep(self, nal: bytes) -> None:
        """Take a NAL unit; it replaces the set of its number. What is no parameter set, or too long, is left out."""
        if len(nal) > MAX_SET_BYTES:
            return
        if nal_type(nal) == SPS and (sequence := read_sequence_set(nal)) is not None:
            # Taken out first: the order is that in which they came.
            self._sequence.pop(sequence.id, None)
            self._sequence[sequence.id] = sequence, nal
        elif nal_type(nal) == PPS and (picture := read_picture_set(nal)) is not None:
            self._picture.pop(picture.id, None)
            self._picture[picture.id] = picture, nal
        else:
            return
        self._forget_the_oldest()

    def trouble_with(self, header: SliceHeader) -> Trouble | None:
        """Why nobody can decode a slice with this header; None if it can be decoded."""
        sequence = self.sequence_of(header)
        if sequence is None:
            return Trouble.NO_PARAMETER_SETS
        picture, _ = self._picture[header.picture_set_id]
        is_decodable = sequence.profile_idc in DECODABLE_PROFILES and picture.slice_groups == 1
        if not is_decodable or sequence_mistake(sequence):
            return Trouble.UNSUPPORTED_PROFILE
        return None

    def sequence_of(self, header: SliceHeader) -> SequenceHeader | None:
        """The sequence that a slice belongs to, by way of its picture parameter set; None if it is not known."""
        picture = self._picture.get(header.picture_set_id)
        sequence = None if picture is None else self._sequence.get(picture[0].sequence_id)
        return None if sequence is None else sequence[0]

    def _forget_the_oldest(self) -> None:
        size = sum(map(_cost, self.nals))
        while not self._bytes.hold(size):
            kept = itertools.chain(self._picture.items(), self._sequence.items())
            number, (header, nal) = next(kept)
            size -= _cost(nal)
            if isinstance(header, PictureHeader):
                del self._picture[number]
            else:
                del self._sequence[number]


def _cost(nal: bytes) -> int:
    return len(nal) + OBJECT_BYTES
