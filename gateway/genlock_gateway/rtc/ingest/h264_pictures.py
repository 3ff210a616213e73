"""H264 pictures out of RTP payloads (RFC 6184): what stands in front of them, where a decoder can start, what fails."""

from collections.abc import Iterable

from genlock_core.bitstreams.h264 import (
    ACCESS_UNIT_DELIMITER,
    IDR_SLICE,
    PPS,
    SLICES,
    SPS,
    START_CODE,
    join_annex_b,
    nal_type,
    split_annex_b,
)
from genlock_core.bitstreams.h264_headers import read_recovery_point, read_slice
from genlock_core.bounds import OBJECT_BYTES, ByteLimit, Holdings
from genlock_core.media import Trouble
from genlock_gateway.rtc.ingest.choice import MAX_CANDIDATES
from genlock_gateway.rtc.ingest.parameter_sets import ParameterSets
from genlock_gateway.rtc.ingest.picture import Picture
from genlock_gateway.rtc.transport.aiortc_private import h264_depayload

MAX_FRONT_BYTES = 64 * 1024
FRONT_LIMIT = ByteLimit(
    "NAL units that wait for the picture that they stand in front of",
    MAX_FRONT_BYTES,
    each="SSRC of a publisher that is looked at",
    when_full="they are dropped",
    times=MAX_CANDIDATES,
)
MAX_NALS = 1_024
"""In one picture: more slices than packets of it. Each costs some microseconds, and four bytes are one."""

_DATA_PARTITIONS = frozenset({2, 3, 4})
_WITHOUT_MEANING = frozenset({10, 11, 12})
"""The ends of sequences and streams, of a single byte, and filler: the pictures are the same without them."""


class H264Pictures:
    """Makes the pictures of one stream, in decoding order. `sprop` are the parameter sets of its offer, in base64."""

    def __init__(self, sprop: str = "", *, holdings: Holdings | None = None) -> None:
        holdings = holdings or Holdings()
        self._sets = ParameterSets(sprop, holdings=holdings)
        self._front_bytes = holdings.bound(FRONT_LIMIT)
        # NAL units that came alone: delimiters, parameter sets and SEI belong to the next picture.
        self._front: list[bytes] = []
        self._has_entry_points = False

    def picture(self, payloads: Iterable[bytes], *, any_start: bool) -> Picture | Trouble | None:
        """Annex B, or why nobody can decode it; None if no slice is in it. Raises ValueError for a broken payload.

        `any_start`: also what a decoder can start with only in some way is a key frame: a recovery point from which the
        picture becomes right bit by bit, and a picture of intra slices, which later pictures may refer past. The latter
        always is in a stream that has shown nothing better.
        """
        # The depayloader refuses units of a single byte.
        useful = (payload for payload in payloads if nal_type(payload) not in _WITHOUT_MEANING)
        # They are counted as they come: one payload may aggregate hundreds of a byte each.
        parts: list[bytes] = []
        count = 0
        for part in map(h264_depayload, useful):
            parts.append(part)
            count += part.count(START_CODE[1:])
            if count > MAX_NALS:
                return Trouble.UNDECODABLE
        came = split_annex_b(b"".join(parts))
        # They may also come aggregated with others.
        nals = [nal for nal in (*self._front, *came) if nal_type(nal) not in _WITHOUT_MEANING]
        self._front = []
        self._front_bytes.clear()
        for nal in nals:
            self._sets.keep(nal)

        kinds = {nal_type(nal) for nal in nals}
        if not kinds & SLICES:
            if self._front_bytes.hold(sum(map(len, nals)) + OBJECT_BYTES * len(nals)):
                self._front = nals
            return None
        if kinds & _DATA_PARTITIONS:
            return Trouble.UNSUPPORTED_PROFILE

        return self._whole(nals, is_idr=IDR_SLICE in kinds, any_start=any_start)

    def _whole(self, nals: list[bytes], *, is_idr: bool, any_start: bool) -> Picture | Trouble:
        headers = []
        for nal in nals:
            if nal_type(nal) in SLICES:
                header = read_slice(nal)
                if header is None:
                    return Trouble.UNDECODABLE
                if (trouble := self._sets.trouble_with(header)) is not None:
                    return trouble
                headers.append(header)

        points = [pictures for nal in nals if (pictures := read_recovery_point(nal)) is not None]
        is_entry_point = is_idr or 0 in points
        self._has_entry_points |= is_entry_point or bool(points)
        is_intra = all(header.is_intra for header in headers)
        is_start = any_start and (is_intra or bool(points))
        if not is_entry_point and not is_start and not (is_intra and not self._has_entry_points):
            return Picture(join_annex_b(nals), key_frame=False, pixels=0)

        sequence = self._sets.sequence_of(headers[0])
        pixels = 0 if sequence is None else sequence.width * sequence.height
        return Picture(join_annex_b(self._with_all_sets(nals)), key_frame=True, pixels=pixels)

    def _with_all_sets(self, nals: list[bytes]) -> list[bytes]:
        """A decoder that starts here needs them, and SEI may refer to them (ITU-T H.264 section 7.4.1.2.3)."""
        delimiters = [nal for nal in nals if nal_type(nal) == ACCESS_UNIT_DELIMITER]
        rest = [nal for nal in nals if nal_type(nal) not in (ACCESS_UNIT_DELIMITER, SPS, PPS)]
        return [*delimiters[:1], *self._sets.nals, *rest]
