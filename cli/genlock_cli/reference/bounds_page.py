"""`docs/bounds.md`: every buffer between a socket and an engine with its bound, from the limits themselves."""

from collections.abc import Sequence
from typing import Final

from genlock_core.bounds import ByteLimit
from genlock_core.link.connection import EVENTS_LIMIT
from genlock_core.link.frames import PARSER_LIMIT
from genlock_core.link.outbox import CONTROL_LIMIT, MEDIA_LIMIT, PICTURE_LIMIT
from genlock_core.spec.session import MAX_PICTURE_BYTES
from genlock_gateway.rtc.ingest.h264_pictures import FRONT_LIMIT
from genlock_gateway.rtc.ingest.jitter import JITTER_LIMIT, LAST_FRAME_LIMIT, OPEN_FRAME_LIMIT
from genlock_gateway.rtc.ingest.parameter_sets import SETS_LIMIT
from genlock_gateway.rtc.ingest.rtp_source import WAITING_LIMIT
from genlock_gateway.rtc.transport.ice import INBOX_LIMIT
from genlock_gateway.rtc.transport.peer import MESSAGES_LIMIT
from genlock_gateway.rtc.transport.sctp import DATA_CHANNEL_LIMIT
from genlock_gateway.sessions.recent_pictures import RECENT_LIMIT
from genlock_worker.intake.decode import KEPT_LIMIT, PICTURES_LIMIT
from genlock_worker.intake.out_of_process.nursery import MEMORY_BYTES
from genlock_worker.intake.publisher import QUEUE_LIMIT
from genlock_worker.output.output import OUTPUT_LIMIT

PLACES: Final[tuple[tuple[str, tuple[ByteLimit, ...]], ...]] = (
    (
        "At the gateway, for a publisher",
        (
            INBOX_LIMIT,
            DATA_CHANNEL_LIMIT,
            MESSAGES_LIMIT,
            JITTER_LIMIT,
            OPEN_FRAME_LIMIT,
            LAST_FRAME_LIMIT,
            FRONT_LIMIT,
            SETS_LIMIT,
            WAITING_LIMIT,
            RECENT_LIMIT,
        ),
    ),
    ("On the link, at each end", (PARSER_LIMIT, EVENTS_LIMIT, CONTROL_LIMIT, MEDIA_LIMIT, PICTURE_LIMIT)),
    ("At the worker, for a session", (QUEUE_LIMIT, KEPT_LIMIT, PICTURES_LIMIT, OUTPUT_LIMIT)),
)
"""In the order in which a picture passes them."""

_INTRODUCTION: Final = """\
# What a publisher may make grow

Made by `python -m genlock_cli.reference`; a test keeps it true, and another one fills each buffer beyond its bound.

Every buffer between a socket and an engine has a bound in bytes (`genlock_core.bounds`). About 256 bytes are added for
each packet, unit or chunk, so that a million packets of one byte are not taken for a megabyte. The sums are metrics:
`genlock_gateway_publisher_bytes` and `genlock_worker_publisher_bytes`.

Pictures are refused by their headers, before anything of them is decoded: sides of more than 4096 pixels, and more than
192 MiB for a picture with all that it may refer to (`genlock_core.bitstreams.picture_size`).

"""

_BY_COUNT: Final = """\
## By their number

These hold pictures of the session's own size, and never more of them than these:

| what | at most |
|---|---|
| the chunk that is being put together | 5 pictures, the last one and the one that is repeated |
| the chunk that waits for the engine | 5 pictures; a newer chunk takes its place |
| chunks under way in the engine | one for each denoising step and one more; one of them in the encoder |
| a stream's frames on their way to viewers | 16 encoded pictures, and 1024 packets for retransmissions |
"""

_OUT_OF_PROCESS: Final = """
## By the kernel

With `--decode-process`, as the chart has it, each session's decoder has a process of its own. The buffers above bound
what it should take. The kernel bounds what it can take, whatever libavcodec does:

| what | at most | each | when it is reached |
|---|---|---|---|
| memory of a decoder's process, besides what it starts with (`RLIMIT_AS`) | {memory} | session | memory is refused; \
the process ends, and a key frame is asked for |
| the memory by which it hands over a picture (`RLIMIT_FSIZE`) | {picture} | session | the write is refused; as above |
| its open files (`RLIMIT_NOFILE`), its threads and processes (`RLIMIT_NPROC`) | those it has | session | the call is \
refused |
| decoders' processes | one for each session with a publisher, and a spare one | worker | |
"""


def bounds_document() -> str:
    """The whole page."""
    sections = "".join(_section(title, limits) for title, limits in PLACES)
    return _INTRODUCTION + sections + _BY_COUNT + _out_of_process()


def _out_of_process() -> str:
    return _OUT_OF_PROCESS.format(memory=_size(MEMORY_BYTES), picture=_size(MAX_PICTURE_BYTES))


def _section(title: str, limits: Sequence[ByteLimit]) -> str:
    lines = [f"## {title}\n", "| what | at most | each | when it is full |", "|---|---|---|---|"]
    lines += [
        f"| {limit.name} | {_size(limit.at_most)}{_times(limit)} | {limit.each} | {limit.when_full} |"
        for limit in limits
    ]
    total = sum(limit.at_most * limit.times for limit in limits)
    return "\n".join(lines) + f"\n\nAll together: {_size(total)}.\n\n"


def _times(limit: ByteLimit) -> str:
    return f", {limit.times} times" if limit.times > 1 else ""


def _size(size: int) -> str:
    """A size with two digits that count, as people read it."""
    for unit, bytes_ in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if size >= bytes_:
            return f"{size / bytes_:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} bytes"
