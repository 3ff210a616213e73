"""Offers: what is taken, what is refused and how."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.media import Codec
from genlock_gateway.rtc.sdp.answer import LocalTransport, SentStream, setup_for, write_answer, write_fragment
from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.sdp.offer import MAX_OFFER_CHARS, parse_offer
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.rtc.sdp.trickle import parse_fragment
from genlock_gateway.rtc.sdp.video_format import best_format
from tests.gateway.rtc.offers import offer


def refused(text: str, role: str = "publisher") -> OfferError:
    with pytest.raises(OfferError) as error:
        parse_offer(text, role=role)  # type: ignore[arg-type]
    return error.value


def test_a_browsers_offer_is_read() -> None:
    read = parse_offer(offer(), role="publisher")
    assert read.codecs == (Codec.VP8, Codec.H264)
    assert (read.direction, read.setup, read.has_data_channel) == ("sendonly", "actpass", True)
    assert (read.sctp_port, read.max_message_bytes) == (5000, 262144)
    assert "0123456789abcdefghijklmn" not in repr(read)


def test_constrained_baseline_in_mode_1_is_preferred_to_all_other_h264() -> None:
    read = parse_offer(offer("recvonly"), role="viewer")
    assert [item.payload_type for item in read.formats] == [96, 102, 106, 108]
    best = best_format(read.formats, Codec.H264)
    assert best is not None
    assert (best.payload_type, best.rtx_payload_type, best.feedback) == (106, 107, ("nack",))


def test_a_profile_level_id_without_a_value_is_one_that_was_left_out() -> None:
    left_out, empty = (
        parse_offer(offer().replace(";profile-level-id=42e01f", to), role="publisher")
        for to in ("", ";profile-level-id=")
    )
    assert empty.formats == left_out.formats
    assert best_format(empty.formats, Codec.H264) is not None


def test_m_lines_that_are_not_in_use_do_not_count_and_are_mirrored() -> None:
    rejected = "".join(f"m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:x{number}\r\n" for number in range(5))
    read = parse_offer(offer() + rejected, role="publisher")
    video = best_format(read.formats, Codec.H264)
    assert video is not None
    answer = write_answer(read, session_id=1, transport=LOCAL, video=video, sent=None)
    assert answer.count("\r\nm=video 0 ") == 5
    assert "a=group:BUNDLE 0 1 2\r\n" in answer
    more = "".join(f"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:y{number}\r\n" for number in range(2))
    assert "uses 5 m-lines" in str(refused((offer() + more).replace("BUNDLE 0 1 2", "BUNDLE 0 1 2 y0 y1")))
    assert "at most 64" in str(refused(offer() + rejected * 13))


def test_a_publisher_may_send_h264_in_mode_0_and_a_viewer_cannot_take_it() -> None:
    only = "\r\n".join(
        line.replace("96 97 102 103 104 105 106 107 108 109 45 46", "104 105") for line in offer().split("\r\n")
    )
    assert parse_offer(only, role="publisher").formats[0].packetization_mode == 0
    assert refused(only.replace("sendonly", "recvonly"), role="viewer").kind == "unsupported"


@pytest.mark.parametrize(
    ("role", "direction", "taken"),
    [
        ("publisher", "sendonly", True),
        ("publisher", "sendrecv", True),
        ("publisher", "recvonly", False),
        ("publisher", "inactive", False),
        ("viewer", "recvonly", True),
        ("viewer", "sendrecv", True),
        ("viewer", "sendonly", False),
    ],
)
def test_directions(*, role: str, direction: str, taken: bool) -> None:
    if taken:
        assert parse_offer(offer(direction), role=role).direction == direction  # type: ignore[arg-type]
    else:
        assert refused(offer(direction), role).kind == "unsupported"


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("malformed", "v=0", "hello"),
        ("malformed", "a=ice-ufrag:Ab1+\r\n", ""),
        ("malformed", "a=ice-ufrag:Ab1+", "a=ice-ufrag:A b"),
        ("malformed", "a=ice-pwd:0123456789abcdefghijklmn", "a=ice-pwd:short"),
        ("malformed", "a=setup:actpass", "a=setup:sideways"),
        ("malformed", "a=fingerprint:sha-256 AB:", "a=fingerprint:sha-256 "),
        ("malformed", "a=mid:1", "a=mid:0"),
        ("malformed", "a=sctp-port:5000", "a=sctp-port:many"),
        ("malformed", "m=video 9", "m=video nine"),
        ("malformed", "t=0 0", "no line of SDP"),
        ("unsupported", "a=fingerprint:sha-256", "a=fingerprint:md5"),
        ("unsupported", "t=0 0", "t=0 0\r\na=ice-lite"),
        ("unsupported", "m=audio 9", "m=video 9"),
        ("unsupported", "m=video 9", "m=video 0"),
        ("unsupported", "a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0 1"),
        ("unsupported", "a=rtcp-mux\r\n", ""),
        ("unsupported", "m=application", "m=audio 9 X/RTP/SAVPF 0\r\nm=audio 9 X/RTP/SAVPF 0\r\nm=application"),
    ],
)
def test_faults_are_told_apart(kind: str, old: str, new: str) -> None:
    assert old in offer()
    assert refused(offer().replace(old, new)).kind == kind


def test_an_offer_without_usable_codec_or_too_long_is_unsupported() -> None:
    assert refused(offer().replace("H264/", "H265/").replace("VP8/", "VP9/")).kind == "unsupported"
    assert refused(offer() + "a=x:" + "y" * MAX_OFFER_CHARS).kind == "unsupported"


def test_only_the_tagged_section_of_a_bundle_need_carry_the_transport() -> None:
    head, video = offer().split("m=video")
    bare = "\r\n".join(line for line in video.split("\r\n") if not line.startswith(("a=ice", "a=setup", "a=fing")))
    read = parse_offer(head + "m=video" + bare, role="publisher")
    assert read.ice.ufrag == "Ab1+"


def test_the_offer_says_whose_packets_a_retransmission_repeats() -> None:
    lines = "a=ssrc-group:FID 10 11\r\na=ssrc-group:SIM 10 20\r\na=ssrc-group:FID 20 21\r\na=ssrc-group:FID x 9\r\n"
    assert parse_offer(offer(), role="publisher").rtx_ssrcs == ()
    read = parse_offer(offer().replace("a=rtpmap:96", lines + "a=rtpmap:96"), role="publisher")
    assert read.rtx_ssrcs == ((11, 10), (21, 20))


LOCAL = LocalTransport(IceCredentials("ufrag", "p" * 32), "00:11", "passive", ("192.0.2.1", "192.0.2.2"), 8189)


def test_the_answer_to_a_publisher() -> None:
    read = parse_offer(offer(), role="publisher")
    video = best_format(read.formats, Codec.H264)
    assert video is not None
    answer = write_answer(read, session_id=1, transport=LOCAL, video=video, sent=None)
    audio, sending, data = answer.split("m=")[1:]
    assert audio.startswith("audio 8189 UDP/TLS/RTP/SAVPF 111\r\n")
    assert "a=inactive" in audio
    assert sending.startswith("video 8189 UDP/TLS/RTP/SAVPF 106 107\r\n")
    for line in ("a=recvonly", "a=rtcp-mux-only", "a=setup:passive", "a=end-of-candidates", "a=extmap:2 http"):
        assert line in sending
    assert sending.count("a=candidate:") == 2
    assert "msid:" not in sending
    assert "a=sctp-port:5000" in data
    assert answer.startswith("v=0\r\n")
    assert "a=group:BUNDLE 0 1 2\r\n" in answer


def test_the_answer_to_a_restart_has_the_new_end_of_the_transport_and_nothing_else() -> None:
    lines = write_fragment(parse_offer(offer(), role="publisher"), LOCAL).split("\r\n")
    assert lines[1:3] == ["m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0"], "the first of the bundle speaks for it"
    assert {"a=ice-ufrag:ufrag", "a=ice-pwd:" + "p" * 32, "a=end-of-candidates"} <= set(lines)
    parse_fragment("\r\n".join(lines))
    told = [line.split()[4:6] for line in lines if line.startswith("a=candidate:")]
    assert told == [["192.0.2.1", "8189"], ["192.0.2.2", "8189"]]
    assert not [line for line in lines if line.startswith(("a=fingerprint", "a=setup", "a=rtpmap"))]


def test_the_answer_to_a_viewer_has_one_stream_with_its_retransmissions() -> None:
    read = parse_offer(offer("recvonly"), role="viewer")
    video = best_format(read.formats, Codec.VP8)
    assert video is not None
    answer = write_answer(read, session_id=1, transport=LOCAL, video=video, sent=SentStream("name", 10, 11))
    assert answer.count("a=msid:") == 1
    for line in (
        "a=sendonly",
        "a=ssrc-group:FID 10 11",
        "a=ssrc:10 cname:name",
        "m=video 8189 UDP/TLS/RTP/SAVPF 96 97",
    ):
        assert line in answer


@pytest.mark.parametrize(
    ("offered", "answered"), [("actpass", "passive"), ("active", "passive"), ("passive", "active")]
)
def test_the_answer_is_passive_unless_the_client_is(offered: str, answered: str) -> None:
    assert setup_for(parse_offer(offer().replace("actpass", offered), role="publisher")) == answered


LINES = offer().split("\r\n")
WORDS = st.sampled_from(
    ["0", "9", "99999999999999999999", "H264/90000", "²", "a=", "m=video", ":", " ", "\x0b", "VP8", ""]
)


@given(st.text(max_size=400), st.sampled_from(["publisher", "viewer"]))
@settings(max_examples=100)
def test_any_text_is_read_or_refused(text: str, role: str) -> None:
    for candidate in (text, "v=0\r\nm=" + text, offer().replace("H264", text)):
        try:
            parse_offer(candidate, role=role)  # type: ignore[arg-type]
        except OfferError as error:
            assert error.kind in ("malformed", "unsupported")  # noqa: PT017 - it may be raised or not


@given(st.data())
@settings(max_examples=300)
def test_any_mangled_offer_is_read_or_refused(data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.integers(0, 3)):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[data.draw(st.integers(0, len(lines) - 1))])
            case 2:
                cut = data.draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + data.draw(WORDS)
            case _:
                cut = data.draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + data.draw(WORDS) + lines[at][cut:]
        lines = lines or [""]
    try:
        read = parse_offer("\r\n".join(lines), role="publisher")
    except OfferError:
        return
    video = best_format(read.formats, read.codecs[0])
    assert video is not None
    answer = write_answer(read, session_id=1, transport=LOCAL, video=video, sent=None)
    assert answer.count("\r\nm=") == len(read.sections)
