"""The corpus: every kind of bitstream that publishers send, with what is right for each.

Made by FFmpeg's encoders, and by hand where no encoder makes it. A kind is made when it is asked for; the same call
always makes the same bytes. `python -m tests.bitstreams.corpus FOLDER` writes them out, to look at them.
"""

import base64
import functools
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genlock_core.media import Codec, Trouble
from tests.bitstreams import bits, clips, rtp
from tests.bitstreams.clips import CodedPicture
from tests.bitstreams.rtp import Sent

FRAMES = 16


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of stream. `shown`: the numbers of the pictures that come out; None where only the reason is right."""

    packets: tuple[Sent, ...]
    codec: Codec = Codec.H264
    shown: tuple[int, ...] | None = tuple(range(FRAMES))
    trouble: Trouble | None = None
    sprop: str = ""
    successor: bool = True
    """Whether a worker that takes over at the end shows the last picture."""


def h264(sent: Sequence[Sent], **right: object) -> Kind:
    return replace(Kind(tuple(sent)), **right)  # type: ignore[arg-type]  # the fields of a Kind


def vp8(sent: Sequence[Sent], **right: object) -> Kind:
    return replace(Kind(tuple(sent), Codec.VP8), **right)  # type: ignore[arg-type]


@functools.cache
def plain() -> list[CodedPicture]:
    return clips.h264(FRAMES)


@functools.cache
def sliced() -> list[CodedPicture]:
    return clips.h264(FRAMES, x264="slices=4")


@functools.cache
def plain_vp8() -> list[CodedPicture]:
    return clips.vp8(FRAMES)


def is_set(nal: bytes) -> bool:
    return nal[0] & 31 in (7, 8)


def sets_of(pictures: Sequence[CodedPicture]) -> list[bytes]:
    return [nal for nal in pictures[0].nals if is_set(nal)]


def without_sets(_place: int, nals: list[bytes]) -> list[bytes]:
    return [nal for nal in nals if not is_set(nal)]


# -- H264 that is shown ------------------------------------------------------------------------------------------------


def b_frames() -> Kind:
    """Two are held back by the decoder at the end."""
    return h264(rtp.h264_packets(clips.b_frames(FRAMES)), shown=tuple(range(FRAMES - 2)), successor=False)


def b_frames_unstated() -> Kind:
    """No VUI says how they are reordered; a picture or two come out before that is learned."""
    sent = rtp.h264_packets(clips.b_frames(FRAMES), edit=lambda _, nals: [bits.without_usability(nal) for nal in nals])
    return h264(sent, shown=None, successor=False)


def slices_marker_last() -> Kind:
    return h264(rtp.h264_packets(sliced()))


def slices_marker_each() -> Kind:
    return h264(rtp.h264_packets(sliced(), markers="each-nal"))


def slices_marker_each_offered_sets() -> Kind:
    """Nothing warns before the first slice, which leaves alone and is not shown; the whole picture follows."""
    sent = rtp.h264_packets(sliced(), markers="each-nal", edit=lambda _, nals: [n for n in nals if n[0] & 31 in (1, 5)])
    return h264(sent, sprop=",".join(base64.b64encode(nal).decode() for nal in sets_of(sliced())))


def slices_marker_none() -> Kind:
    return h264(rtp.h264_packets(sliced(), markers="none"))


def aggregated() -> Kind:
    return h264(rtp.h264_packets(sliced(), aggregate=True))


def sei_first() -> Kind:
    return h264(rtp.h264_packets(plain(), edit=lambda _, nals: [bits.user_data(), *nals]))


def sei_first_aggregated() -> Kind:
    return h264(rtp.h264_packets(plain(), edit=lambda _, nals: [bits.user_data(), *nals], aggregate=True))


def delimiters() -> Kind:
    return h264(rtp.h264_packets(clips.h264(FRAMES, x264="aud=1")))


def ends_of_sequences() -> Kind:
    """A byte of its own after the last picture before each IDR."""
    made = clips.h264(FRAMES, x264="keyint=4")
    return h264(rtp.h264_packets(made, edit=lambda place, nals: [*nals, b"\x0a"] if place % 4 == 3 else nals))


def end_of_stream_aggregated() -> Kind:
    made = clips.h264(FRAMES, x264="keyint=4")

    def edit(place: int, nals: list[bytes]) -> list[bytes]:
        return [*nals, bits.user_data(), b"\x0b"] if place % 4 == 3 else nals

    return h264(rtp.h264_packets(made, edit=edit, aggregate=True))


def sets_of_their_own_time() -> Kind:
    return h264(rtp.h264_packets(plain(), own_time=frozenset({6, 7, 8})))


def two_pps_sent_once() -> Kind:
    """Both once, the second of another number; then IDRs that refer to the first."""
    made = clips.h264(FRAMES, x264="keyint=5")

    def edit(place: int, nals: list[bytes]) -> list[bytes]:
        bare = without_sets(place, nals)
        return [*sets_of(made), bits.picture_set(1), *bare] if place == 0 else bare

    return h264(rtp.h264_packets(made, edit=edit))


def two_sequences() -> Kind:
    """Two SPS and two PPS, all sent once; the stream goes over from one to the other at an IDR, and back."""
    first, second = clips.h264(FRAMES, x264="keyint=4"), clips.h264(FRAMES, x264="keyint=4:sps-id=1")
    mixed = [second[place] if 4 <= place < 8 else first[place] for place in range(FRAMES)]

    def edit(place: int, nals: list[bytes]) -> list[bytes]:
        bare = without_sets(place, nals)
        return [*sets_of(first), *sets_of(second), *bare] if place == 0 else bare

    return h264(rtp.h264_packets(mixed, edit=edit))


def offered_sets() -> Kind:
    sprop = ",".join(base64.b64encode(nal).decode() for nal in sets_of(plain()))
    return h264(rtp.h264_packets(plain(), edit=without_sets), sprop=sprop)


def open_gop_cut() -> Kind:
    """From an I picture that is no IDR; two before it in time refer to what is missing."""
    made = clips.b_frames(30, x264="open-gop=1:keyint=12")
    sent = rtp.h264_packets(made)
    start = next(place for place, picture in enumerate(made) if place and bits.has_recovery_point(picture.nals))
    return h264(rtp.from_turn(sent, start), shown=tuple(range(12, 28)), successor=False)


def intra_slices_cut() -> Kind:
    """The same without the SEI that calls it a recovery point; some B-frames of the first group may be missing."""
    made = clips.b_frames(30, x264="open-gop=1:keyint=12")
    start = next(place for place, picture in enumerate(made) if place and bits.has_recovery_point(picture.nals))

    def edit(place: int, nals: list[bytes]) -> list[bytes]:
        return [*(sets_of(made) if place == start else []), *[nal for nal in nals if nal[0] & 31 == 1]]

    return h264(rtp.from_turn(rtp.h264_packets(made, edit=edit), start), shown=None, successor=False)


def intra_refresh_cut() -> Kind:
    """No IDR but the first, which was missed: the picture is refreshed column by column."""
    made = clips.h264(50, options={**clips.X264, "profile": "main"}, x264="intra-refresh=1:keyint=12:bframes=0")
    return h264(rtp.from_turn(rtp.h264_packets(made), 3), shown=None)


def interlaced() -> Kind:
    return h264(rtp.h264_packets(clips.h264(FRAMES, options={**clips.X264, "profile": "main"}, x264="interlaced=1")))


def all_colours() -> Kind:
    """High 4:4:4 Predictive, which browsers refuse and this decoder takes."""
    options = {"preset": "ultrafast", "tune": "zerolatency", "profile": "high444"}
    return h264(rtp.h264_packets(clips.h264(FRAMES, options=options, pixel_format="yuv444p")))


def cut_at_the_start() -> Kind:
    made = clips.h264(FRAMES, x264="keyint=5")
    return h264(rtp.from_turn(rtp.h264_packets(made), 2), shown=tuple(range(5, FRAMES)))


def another_size() -> Kind:
    first, second = clips.h264(8), clips.h264(8, width=192, height=144, first=8)
    return h264(rtp.h264_packets([*first, *second]))


def lost_packets() -> Kind:
    """Nothing is sent again; each IDR mends what was lost."""
    made = clips.h264(FRAMES, x264="keyint=4")
    sent = rtp.without(rtp.h264_packets(made), lambda _, packet: packet.turn in (5, 10) and not packet.marker)
    return h264(sent, shown=None)


def simulcast() -> Kind:
    """Two layers of one payload type; the larger is shown."""
    small = rtp.h264_packets(clips.h264(FRAMES, width=64, height=48), ssrc=2)
    both = sorted([*rtp.h264_packets(plain()), *small], key=lambda packet: packet.turn)
    return h264(both)


# -- H264 that nobody can show -----------------------------------------------------------------------------------------


def no_key_frame() -> Kind:
    return h264(rtp.from_turn(rtp.h264_packets(plain(), edit=add_sets), 1), shown=(), trouble=Trouble.NO_KEY_FRAME)


def add_sets(_place: int, nals: list[bytes]) -> list[bytes]:
    return [*sets_of(plain()), *without_sets(0, nals)]


def no_sets() -> Kind:
    made = clips.h264(FRAMES, x264="keyint=4")
    return h264(rtp.h264_packets(made, edit=without_sets), shown=(), trouble=Trouble.NO_PARAMETER_SETS)


def extended_profile() -> Kind:
    def edit(_place: int, nals: list[bytes]) -> list[bytes]:
        return [nal[:1] + b"\x58" + nal[2:] if nal[0] & 31 == 7 else nal for nal in nals]

    return h264(rtp.h264_packets(plain(), edit=edit), shown=(), trouble=Trouble.UNSUPPORTED_PROFILE)


def slice_groups() -> Kind:
    def edit(_place: int, nals: list[bytes]) -> list[bytes]:
        return [bits.picture_set(0, slice_groups=2) if nal[0] & 31 == 8 else nal for nal in nals]

    return h264(rtp.h264_packets(plain(), edit=edit), shown=(), trouble=Trouble.UNSUPPORTED_PROFILE)


def encrypted_end_to_end() -> Kind:
    """Random bytes: what they are cannot be known, only that they are no pictures."""
    noise = random.Random(7)
    sent = [replace(packet, payload=b"\x1f" + noise.randbytes(60)) for packet in rtp.h264_packets(plain())]
    return h264(sent, shown=(), trouble=Trouble.UNDECODABLE)


# -- VP8 ---------------------------------------------------------------------------------------------------------------


def vp8_plain() -> Kind:
    return vp8(rtp.vp8_packets(plain_vp8()))


def vp8_without_markers() -> Kind:
    """The last picture waits for the next one."""
    return vp8(rtp.vp8_packets(plain_vp8(), markers="none"), shown=tuple(range(FRAMES - 1)))


def vp8_temporal_layers() -> Kind:
    layers = (
        "ts_number_layers=2:ts_target_bitrate=200,400:ts_rate_decimator=2,1:"
        "ts_periodicity=2:ts_layer_id=0,1:ts_layering_mode=2"
    )
    return vp8(rtp.vp8_packets(clips.vp8(FRAMES, options={"ts-parameters": layers})))


def vp8_partitions() -> Kind:
    return vp8(rtp.vp8_packets(clips.vp8(FRAMES, options={"slices": "4"})))


def vp8_odd_size() -> Kind:
    return vp8(rtp.vp8_packets(clips.vp8(FRAMES, width=129, height=97)))


def vp8_another_size() -> Kind:
    return vp8(rtp.vp8_packets([*clips.vp8(8), *clips.vp8(8, width=192, height=144, first=8)]))


def vp8_lost_packets() -> Kind:
    """The last picture before a key frame is lost: in VP8 nothing but a key frame mends what follows a loss."""
    sent = rtp.vp8_packets([*clips.vp8(8), *clips.vp8(8, first=8)])
    shown = tuple(number for number in range(FRAMES) if number != 7)
    return vp8(rtp.without(sent, lambda _, packet: packet.turn == 7), shown=shown)


def vp8_no_key_frame() -> Kind:
    return vp8(rtp.from_turn(rtp.vp8_packets(plain_vp8()), 1), shown=(), trouble=Trouble.NO_KEY_FRAME)


def vp8_encrypted_end_to_end() -> Kind:
    noise = random.Random(8)
    sent = [
        replace(packet, payload=packet.payload[:1] + b"\x10" + noise.randbytes(90)) for packet in vp8_plain().packets
    ]
    return vp8(sent, shown=(), trouble=Trouble.UNDECODABLE)


def _named(*makers: Callable[[], Kind]) -> dict[str, Callable[[], Kind]]:
    return {make.__name__.replace("_", "-"): make for make in makers}


SHOWN = _named(
    b_frames,
    b_frames_unstated,
    slices_marker_last,
    slices_marker_each,
    slices_marker_each_offered_sets,
    slices_marker_none,
    aggregated,
    sei_first,
    sei_first_aggregated,
    delimiters,
    ends_of_sequences,
    end_of_stream_aggregated,
    sets_of_their_own_time,
    two_pps_sent_once,
    two_sequences,
    offered_sets,
    open_gop_cut,
    intra_slices_cut,
    intra_refresh_cut,
    interlaced,
    all_colours,
    cut_at_the_start,
    another_size,
    lost_packets,
    simulcast,
    vp8_plain,
    vp8_without_markers,
    vp8_temporal_layers,
    vp8_partitions,
    vp8_odd_size,
    vp8_another_size,
    vp8_lost_packets,
)
"""Kinds that make pictures, by name; each call makes one anew."""

REFUSED = _named(
    no_key_frame,
    no_sets,
    extended_profile,
    slice_groups,
    encrypted_end_to_end,
    vp8_no_key_frame,
    vp8_encrypted_end_to_end,
)
"""Kinds that cannot be shown."""

KINDS = {**SHOWN, **REFUSED}


def write(folder: Path) -> None:
    """The payloads of each kind: a line for each packet with its turn, numbers, marker and bytes in hexadecimal."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in KINDS.items():
        lines = [
            f"{sent.turn} {sent.ssrc} {sent.sequence} {sent.timestamp} {int(sent.marker)} {sent.payload.hex()}"
            for sent in make().packets
        ]
        (folder / f"{name}.rtp").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
