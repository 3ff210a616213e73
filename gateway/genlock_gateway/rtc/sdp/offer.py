"""WHIP and WHEP offers, checked before any part of the WebRTC stack sees them.

Pure: text in, a frozen `Offer` or an `OfferError` out; nothing else is ever raised, whatever the text, and the time is
linear in its length. The rules are those of RFC 9725 (WHIP), draft-ietf-wish-whep-04 and RFC 8829 (JSEP) for a single
bundled transport; what the answer says is in answer.py.
"""

import re
from dataclasses import dataclass
from typing import Literal

from genlock_core.media import VIDEO_CLOCK_HZ, Codec
from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.sdp.offer_error import malformed, unsupported
from genlock_gateway.rtc.sdp.offered_transport import Fingerprint, OfferedTransport, Setup
from genlock_gateway.rtc.sdp.sdp import attributes, split_sections
from genlock_gateway.rtc.sdp.video_format import VideoFormat, formats_of

Role = Literal["publisher", "viewer"]
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

MAX_OFFER_CHARS = 64 * 1024
MAX_MEDIA_SECTIONS = 4
"""That are in use. Clients keep the m-lines of what they no longer send, with port 0 (RFC 3264 section 8.2)."""
MAX_MEDIA_LINES = 64
MAX_RTX_GROUPS = 8

_TOKEN = re.compile(r"[!#-'*+.0-9A-Z^-~-]{1,64}")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass(frozen=True, slots=True)
class Section:
    """One m-line of the offer, kept so that the answer can mirror it."""

    kind: str
    protocol: str
    formats: tuple[str, ...]
    mid: str
    direction: Direction
    rejected: bool
    rtpmaps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client asks for, after every check.

    `formats` are the usable video formats in the client's order. `setup` is the client's DTLS role: `actpass`, `active`
    or `passive`. `video_index`, `data_index` and `tag_index` point into `sections`; `data_index` is None without a data
    channel.
    `rtx_ssrcs` pairs SSRCs of retransmissions with the ones whose packets they carry (RFC 5576, FID groups).
    """

    sections: tuple[Section, ...]
    video_index: int
    data_index: int | None
    tag_index: int
    formats: tuple[VideoFormat, ...]
    extensions: tuple[tuple[int, str], ...]
    setup: Setup
    ice: IceCredentials
    fingerprints: tuple[Fingerprint, ...]
    sctp_port: int
    max_message_bytes: int
    rtx_ssrcs: tuple[tuple[int, int], ...]

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """Codecs that the client can use, in its own order, each once."""
        return tuple(dict.fromkeys(item.codec for item in self.formats))

    @property
    def direction(self) -> Direction:
        return self.sections[self.video_index].direction

    @property
    def tag(self) -> Section:
        """The section that speaks for the transport: the first of the bundle (RFC 8843 section 7.2.1)."""
        return self.sections[self.tag_index]

    @property
    def has_data_channel(self) -> bool:
        return self.data_index is not None


def parse_offer(text: str, *, role: Role) -> Offer:
    """Check an offer of a `publisher` (WHIP) or a `viewer` (WHEP).

    Raises OfferError: `malformed` if it is not SDP or lacks what JSEP demands, `unsupported` if it is bigger, of
    another direction, of other codecs or of another shape than what is served.
    """
    if len(text) > MAX_OFFER_CHARS:
        raise unsupported(f"the offer has {len(text)} characters; at most {MAX_OFFER_CHARS} are taken")
    session, media = split_sections(text)
    if len(media) > MAX_MEDIA_LINES:
        raise unsupported(f"the offer has {len(media)} m-lines; at most {MAX_MEDIA_LINES} are read")
    if any(name == "ice-lite" for lines in (session, *media) for name, _ in attributes(lines)):
        raise unsupported("a client that is ICE lite cannot be reached: it sends no connectivity checks")
    sections = tuple(_section(lines, session) for lines in media)
    used = sum(not section.rejected for section in sections)
    if used > MAX_MEDIA_SECTIONS:
        raise unsupported(f"the offer uses {used} m-lines; at most {MAX_MEDIA_SECTIONS} are taken")
    video_index = _only(sections, "video")
    if video_index is None:
        raise unsupported("the offer has no video m-line")
    video = sections[video_index]
    wanted = ("sendonly", "sendrecv") if role == "publisher" else ("recvonly", "sendrecv")
    if video.direction not in wanted:
        raise unsupported(f"the video of a {role} is {' or '.join(wanted)}, the offer says {video.direction}")
    _check_bundle(session, sections)
    if "rtcp-mux" not in dict(attributes(media[video_index])):
        raise unsupported("the video m-line lacks a=rtcp-mux")
    data_index = _only(sections, "application")
    tag_index = _tag_index(session, sections, video_index)
    transport = OfferedTransport.read(session, media, tag=tag_index, video=video_index)
    formats = _formats(media[video_index], video, role=role)
    sctp = dict(attributes(media[data_index])) if data_index is not None else {}
    return Offer(
        sections=sections,
        video_index=video_index,
        data_index=data_index,
        tag_index=tag_index,
        formats=formats,
        extensions=_extensions(media[video_index]),
        setup=transport.setup,
        ice=transport.ice,
        fingerprints=transport.fingerprints,
        sctp_port=_number(sctp.get("sctp-port", "5000"), "sctp-port", 65535),
        max_message_bytes=_number(sctp.get("max-message-size", "65536"), "max-message-size", 2**63),
        rtx_ssrcs=_rtx_ssrcs(media[video_index]),
    )


def _number(text: str, what: str, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > most:
        raise malformed(f"{what} is not a number up to {most}")
    return int(text)


def _section(lines: list[str], session: list[str]) -> Section:
    words = lines[0][2:].split()
    if len(words) < 4:
        raise malformed("an m-line needs media, port, protocol and formats")
    kind, port, protocol, *formats = words
    if not all(_TOKEN.fullmatch(word) for word in (kind, protocol.replace("/", ""), *formats)):
        raise malformed("an m-line holds characters that are not allowed there")
    names = dict(attributes(lines))
    mid = names.get("mid", "")
    if mid and not _TOKEN.fullmatch(mid):
        raise malformed("a=mid is not a token of at most 64 characters")
    direction: Direction = "sendrecv"
    for name, _ in (*attributes(session), *attributes(lines)):
        if name in _DIRECTIONS:
            direction = name  # type: ignore[assignment]  # one of the four literals, by the test above
    known = {"video": "RTP/SAVPF", "audio": "RTP/SAVPF", "application": "DTLS/SCTP"}
    served = kind in known and protocol.endswith(known[kind]) and "TCP" not in protocol
    served = served and (kind != "application" or formats == ["webrtc-datachannel"])
    closed = _number(port, "the port of an m-line", 65535) == 0 and "bundle-only" not in names
    rtpmaps = tuple(value for name, value in attributes(lines) if name == "rtpmap" and len(value) < 128)
    return Section(kind, protocol, tuple(formats), mid, direction, closed or not served, rtpmaps)


def _only(sections: tuple[Section, ...], kind: str) -> int | None:
    found = [index for index, section in enumerate(sections) if section.kind == kind and not section.rejected]
    if len(found) > 1:
        raise unsupported(f"the offer has {len(found)} {kind} m-lines; one is taken")
    return found[0] if found else None


def _bundle(session: list[str]) -> list[str]:
    for name, value in attributes(session):
        if name == "group" and value.startswith("BUNDLE"):
            return value.split()[1:]
    return []


def _check_bundle(session: list[str], sections: tuple[Section, ...]) -> None:
    """Everything shares one transport (RFC 9725 section 4.4.1 makes BUNDLE a must)."""
    mids = [section.mid for section in sections if section.mid]
    if len(set(mids)) != len(mids):
        raise malformed("two m-lines have the same a=mid")
    used = [section for section in sections if not section.rejected]
    if len(used) > 1:
        group = _bundle(session)
        outside = [section.kind for section in used if not section.mid or section.mid not in group]
        if outside:
            raise unsupported(f"not in the BUNDLE group: {', '.join(outside)}")


def _tag_index(session: list[str], sections: tuple[Section, ...], video_index: int) -> int:
    """The section whose transport attributes hold for the whole bundle (RFC 8843 section 7.2.1)."""
    group = _bundle(session)
    first = group[0] if group else ""
    return next((index for index, section in enumerate(sections) if first and section.mid == first), video_index)


def _formats(lines: list[str], video: Section, *, role: Role) -> tuple[VideoFormat, ...]:
    found = formats_of(list(attributes(lines)), video.formats, any_packetisation=role == "publisher")
    if not found:
        wanted = "H264" if role == "publisher" else "H264 (packetization-mode=1)"
        raise unsupported(f"the offer has neither {wanted} nor VP8 at {VIDEO_CLOCK_HZ} Hz")
    return found


def _extensions(lines: list[str]) -> tuple[tuple[int, str], ...]:
    found: list[tuple[int, str]] = []
    for name, value in attributes(lines):
        number, _, uri = value.partition(" ")
        number = number.split("/")[0]
        if name == "extmap" and number.isascii() and number.isdigit() and len(number) < 4 and 0 < int(number) < 15:
            found.append((int(number), uri.strip().split(" ")[0]))
    return tuple(found)


def _rtx_ssrcs(lines: list[str]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for name, value in attributes(lines):
        words = value.split()
        if name == "ssrc-group" and len(words) == 3 and words[0] == "FID" and len(found) < MAX_RTX_GROUPS:
            numbers = [int(word) for word in words[1:] if word.isascii() and word.isdigit() and len(word) <= 10]
            if len(numbers) == 2:
                found.append((numbers[1], numbers[0]))
    return tuple(found)
