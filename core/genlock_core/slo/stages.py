"""The stages that a frame passes, and when, so that a latency can be broken down into its legs.

Three machines take part and none compares its clock with another's: each writes down offsets from the first stage that
it sees itself. `StageTimes` travels in the header of the link's MEDIA frames; the publisher's gateway puts its own
stages in, the worker hands them on with its own, the viewer's gateway adds the last ones.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Self

MAX_OFFSET_US = 2**32 - 1
"""About 71 minutes; a longer offset stands as this one."""
MAX_STAGES = 32
"""More stages than this in one header are refused; today's peers know 12, newer ones may know more."""

_ENTRY = struct.Struct("!BI")


class Place(StrEnum):
    """Whose clock a stage is read from. The first stage of a place has offset 0."""

    PUBLISHER_GATEWAY = "publisherGateway"
    WORKER = "worker"
    VIEWER_GATEWAY = "viewerGateway"


class Stage(IntEnum):
    """A moment in the life of a frame, in the order in which they pass; the number is what stands on the wire."""

    CAPTURED = 1
    """The access unit's first packet reached the publisher's gateway."""
    FORWARDED = 2
    """The whole access unit was handed to the link."""
    RECEIVED = 3
    """The worker read it from the link (a worker's own source: it made the picture)."""
    DECODED = 4
    CHUNKED = 5
    """The last input frame of its chunk was in: the chunk is complete, its deadline starts."""
    STARTED = 6
    """The first micro-step with a row of the chunk began."""
    GENERATED = 7
    """The chunk's last row was done."""
    PACED = 8
    """The pacer let the frame go."""
    ENCODED = 9
    SENT = 10
    """The encoded frame was handed to the link."""
    ARRIVED = 11
    """The viewer's gateway read it from the link."""
    PACKETISED = 12
    """Its RTP packets were handed to the viewers' transports."""

    @property
    def place(self) -> Place:
        if self <= Stage.FORWARDED:
            return Place.PUBLISHER_GATEWAY
        return Place.WORKER if self <= Stage.SENT else Place.VIEWER_GATEWAY


class Leg(StrEnum):
    """A part of a frame's latency; the keys of `StreamReport.stages` and the `leg` label of the metrics."""

    INGEST = "ingest"
    DECODE = "decode"
    CHUNK = "chunk"
    QUEUE = "queue"
    ENGINE = "engine"
    PACE = "pace"
    ENCODE = "encode"
    SEND = "send"
    FAN_OUT = "fanOut"
    NETWORK = "network"
    """What no machine can see alone: the way between the machines; known only where one gateway saw both ends."""


_LEG_ENDS: tuple[tuple[Leg, Stage, Stage], ...] = (
    (Leg.INGEST, Stage.CAPTURED, Stage.FORWARDED),
    (Leg.DECODE, Stage.RECEIVED, Stage.DECODED),
    (Leg.CHUNK, Stage.DECODED, Stage.CHUNKED),
    (Leg.QUEUE, Stage.CHUNKED, Stage.STARTED),
    (Leg.ENGINE, Stage.STARTED, Stage.GENERATED),
    (Leg.PACE, Stage.GENERATED, Stage.PACED),
    (Leg.ENCODE, Stage.PACED, Stage.ENCODED),
    (Leg.SEND, Stage.ENCODED, Stage.SENT),
    (Leg.FAN_OUT, Stage.ARRIVED, Stage.PACKETISED),
)
_KNOWN = frozenset(int(stage) for stage in Stage)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """When a frame passed each stage: microseconds since the first stage of the same place. Immutable.

    `entries` is sorted by stage and has each stage at most once. Build one with `StageTimes()` and `at`.
    """

    entries: tuple[tuple[Stage, int], ...] = ()

    @classmethod
    def of(cls, offsets_us: Mapping[Stage, int]) -> Self:
        """From a mapping. Raises ValueError for a negative offset; too large ones stand as `MAX_OFFSET_US`."""
        for stage, offset in offsets_us.items():
            if offset < 0:
                raise ValueError(f"stage {stage.name} lies {-offset} us before the first stage of its clock")
        return cls(tuple((stage, min(offsets_us[stage], MAX_OFFSET_US)) for stage in sorted(offsets_us)))

    def at(self, stage: Stage, offset_us: int) -> Self:
        """The same times with one stage more (or corrected). Raises ValueError for a negative offset."""
        return self.of({**dict(self.entries), stage: offset_us})

    def merged(self, later: "StageTimes") -> Self:
        """Both together; where both know a stage, `later` stands."""
        return self.of({**dict(self.entries), **dict(later.entries)})

    def get(self, stage: Stage) -> int | None:
        """The stage's offset in microseconds, None where the frame did not pass it."""
        return next((offset for known, offset in self.entries if known is stage), None)

    def __iter__(self) -> Iterator[tuple[Stage, int]]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def encode(self) -> bytes:
        """The form in the link's header: count u8, then (stage u8, offset u32) each, network byte order."""
        return bytes([len(self.entries)]) + b"".join(_ENTRY.pack(*entry) for entry in self.entries)

    @classmethod
    def decode(cls, data: bytes | memoryview, offset: int = 0) -> "tuple[StageTimes, int]":
        """Read `encode`'s form at `offset`; returns the times and the offset behind them.

        Stages of a newer peer are left out. Raises ValueError if the data is cut short, names a stage twice, or has
        more than `MAX_STAGES`.
        """
        if offset < 0 or offset >= len(data):
            raise ValueError("stage times are missing")
        count = data[offset]
        start, end = offset + 1, offset + 1 + count * _ENTRY.size
        if count > MAX_STAGES:
            raise ValueError(f"{count} stage times, at most {MAX_STAGES} are accepted")
        if end > len(data):
            raise ValueError(f"stage times are cut short: {len(data) - start} of {end - start} bytes")
        numbers = list(_ENTRY.iter_unpack(data[start:end]))
        if len({number for number, _ in numbers}) != count:
            raise ValueError("stage times name a stage twice")
        return cls.of({Stage(number): value for number, value in numbers if number in _KNOWN}), end


def latency_budget(times: StageTimes, *, total_us: int | None = None) -> dict[Leg, int]:
    """How long each leg took, in microseconds; legs whose ends are not both known are left out.

    `total_us` is the whole latency (capture to packetised) if one gateway saw both ends on its own clock: what the
    legs do not explain is then `Leg.NETWORK`. Durations never mix two clocks and are never negative.
    """
    budget: dict[Leg, int] = {}
    for leg, start, end in _LEG_ENDS:
        begun, done = times.get(start), times.get(end)
        if begun is not None and done is not None:
            budget[leg] = max(0, done - begun)
    if total_us is not None:
        budget[Leg.NETWORK] = max(0, total_us - sum(budget.values()))
    return budget
