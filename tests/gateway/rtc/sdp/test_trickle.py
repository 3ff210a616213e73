"""Trickle fragments."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_gateway.rtc.sdp.candidate import MAX_CANDIDATES
from genlock_gateway.rtc.sdp.offer import parse_offer
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.rtc.sdp.trickle import parse_fragment
from tests.gateway.rtc.offers import offer

FRAGMENT = """a=ice-ufrag:Ab1+
a=ice-pwd:0123456789abcdefghijklmn
m=audio 9 UDP/TLS/RTP/SAVPF 0
a=mid:0
a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host
a=candidate:2 1 UDP 1686052607 198.51.100.9 50001 typ srflx raddr 192.0.2.7 rport 50000
a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active
a=candidate:4 1 udp 2122194687 1234.local 50002 typ host
a=candidate:5 1 udp 2122194687 192.0.2.8 50003 typ strange
a=candidate:6 2 udp 2122194687 192.0.2.8 50004 typ host
a=candidate:7 1 udp 2122194687 2001:db8::1 50005 typ host
a=end-of-candidates
"""


def test_udp_candidates_with_an_address_are_kept_and_all_others_dropped() -> None:
    fragment = parse_fragment(FRAGMENT.replace("\n", "\r\n"))
    assert [item.ip for item in fragment.candidates] == ["192.0.2.7", "198.51.100.9", "2001:db8::1"]


def test_an_empty_fragment_has_nothing_in_it() -> None:
    fragment = parse_fragment("")
    assert (fragment.candidates, fragment.ice_ufrag, fragment.ice_password) == ((), None, None)


@pytest.mark.parametrize(
    ("old", "new", "restarts"),
    [("", "", False), ("Ab1+", "Other", True), ("a=ice-ufrag:Ab1+\n", "", False), ("01234", "98765", True)],
)
def test_other_credentials_are_a_restart(*, old: str, new: str, restarts: bool) -> None:
    read = parse_offer(offer(), role="publisher")
    assert parse_fragment(FRAGMENT.replace(old, new) if old else FRAGMENT).restarts(read) is restarts


@pytest.mark.parametrize("text", ["hello", "a=candidate:1 1 udp x", "a=candidate:1 1 udp 1 h p typ host", "x" * 20000])
def test_what_is_no_fragment_is_malformed(text: str) -> None:
    with pytest.raises(OfferError) as error:
        parse_fragment(text)
    assert error.value.kind == "malformed"


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_any_text_is_read_or_malformed(text: str) -> None:
    for body in (text, "a=candidate:" + text, FRAGMENT[:100] + text):
        try:
            assert len(parse_fragment(body).candidates) <= MAX_CANDIDATES
        except OfferError as error:
            assert error.kind == "malformed"  # noqa: PT017 - it may be raised or not
