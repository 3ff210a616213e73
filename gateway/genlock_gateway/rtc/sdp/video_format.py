"""Payload formats of a video m-line: which can be used, and which of them is best (RFC 6184, RFC 7741, RFC 4588)."""

import re
from dataclasses import dataclass

from genlock_core.media import VIDEO_CLOCK_HZ, Codec

FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")
"""RTCP feedback that is understood here (RFC 4585, RFC 5104)."""

_CONSTRAINED_BASELINE, _BASELINE, _MAIN, _HIGH = range(4)
_PROFILE_LEVEL_ID = re.compile(r"[0-9A-Fa-f]{6}")
_DEFAULT_PROFILE_LEVEL_ID = "42e01f"


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """One payload type of the offer.

    `rank` orders formats of one codec, 0 is best: constrained baseline with packetization-mode=1 is what the encoder
    makes. `rtx_payload_type` is None when the client does not take retransmissions as a stream of their own.
    """

    codec: Codec
    payload_type: int
    rtx_payload_type: int | None
    feedback: tuple[str, ...]
    profile_level_id: str
    packetization_mode: int
    sprop_parameter_sets: str
    rank: int

    @property
    def fmtp(self) -> str:
        """The format parameters for the answer; empty for VP8."""
        if self.codec is Codec.VP8:
            return ""
        return (
            f"level-asymmetry-allowed=1;packetization-mode={self.packetization_mode}"
            f";profile-level-id={self.profile_level_id}"
        )


def formats_of(
    attributes: list[tuple[str, str]], payload_types: tuple[str, ...], *, any_packetisation: bool
) -> tuple[VideoFormat, ...]:
    """Usable formats in the order of the m-line; `attributes` are the (name, value) pairs of its section.

    Without `any_packetisation` an H264 format must allow packetization-mode=1: what is sent uses FU-A and STAP-A
    (RFC 6184 section 6.3), while what is received may come in any of the modes 0 and 1.
    """
    names: dict[str, str] = {}
    parameters: dict[str, dict[str, str]] = {}
    feedback: dict[str, list[str]] = {}
    for name, value in attributes:
        payload_type, _, rest = value.partition(" ")
        if name == "rtpmap":
            names[payload_type] = rest.strip().lower()
        elif name == "fmtp":
            parameters[payload_type] = _parameters(rest)
        elif name == "rtcp-fb":
            feedback.setdefault(payload_type, []).append(rest.strip().lower())
    rtx = {
        parameters.get(number, {}).get("apt", ""): int(number)
        for number in payload_types
        if _payload_type(number) and names.get(number) == f"rtx/{VIDEO_CLOCK_HZ}"
    }
    found: list[VideoFormat] = []
    for number in payload_types:
        name = names.get(number, "")
        if not _payload_type(number) or name not in (f"h264/{VIDEO_CLOCK_HZ}", f"vp8/{VIDEO_CLOCK_HZ}"):
            continue
        codec = Codec.H264 if name.startswith("h264") else Codec.VP8
        own = parameters.get(number, {})
        mode = own.get("packetization-mode", "0")
        # Some clients write the parameter without a value: they leave it open, as those do that write none.
        profile = own.get("profile-level-id") or _DEFAULT_PROFILE_LEVEL_ID
        rank = _rank(profile, mode) if codec is Codec.H264 else 0
        if rank is None or (codec is Codec.H264 and mode != "1" and not any_packetisation):
            continue
        heard = (*feedback.get(number, ()), *feedback.get("*", ()))
        found.append(
            VideoFormat(
                codec=codec,
                payload_type=int(number),
                rtx_payload_type=rtx.get(number),
                feedback=tuple(item for item in FEEDBACK if item in heard),
                profile_level_id=profile.lower(),
                packetization_mode=int(mode) if codec is Codec.H264 else 0,
                sprop_parameter_sets=own.get("sprop-parameter-sets", ""),
                rank=rank,
            )
        )
    return tuple(found)


def best_format(formats: tuple[VideoFormat, ...], codec: Codec) -> VideoFormat | None:
    """The best of the formats of `codec`; the client's order decides between equals."""
    return min((item for item in formats if item.codec is codec), key=lambda item: item.rank, default=None)


def _payload_type(number: str) -> bool:
    """Dynamic payload types and the old reserved ones, never those that would look like RTCP (RFC 5761 section 4)."""
    return (
        number.isascii() and number.isdigit() and len(number) <= 3 and int(number) < 128 and not 64 <= int(number) < 96
    )


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in text.split(";"):
        name, _, value = item.partition("=")
        found[name.strip().lower()] = value.strip()
    return found


def _rank(profile_level_id: str, mode: str) -> int | None:
    """0 is best; None when the profile or the packetization mode cannot be used."""
    if not _PROFILE_LEVEL_ID.fullmatch(profile_level_id) or mode not in ("0", "1"):
        return None
    profile_idc, constraints = int(profile_level_id[:2], 16), int(profile_level_id[2:4], 16)
    match profile_idc:
        case 0x42:
            profile = _CONSTRAINED_BASELINE if constraints & 0x40 else _BASELINE
        case 0x4D:
            profile = _CONSTRAINED_BASELINE if constraints & 0x80 else _MAIN
        case 0x64:
            profile = _HIGH
        case _:
            return None
    return profile + (0 if mode == "1" else 4)
