"""Trickle fragments."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.sdp.offer_error import OfferError
from genlock_gateway.rtc.sdp.trickle import Asked, TrickleFragment, parse_fragment

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


def test_candidates_of_any_kind_are_taken() -> None:
    fragment = parse_fragment(FRAGMENT.replace("\n", "\r\n"))
    assert fragment.credentials == NEWEST


def test_an_empty_fragment_has_nothing_in_it() -> None:
    assert parse_fragment("") == TrickleFragment(None, None)


NEWEST = IceCredentials("Ab1+", "0123456789abcdefghijklmn")
BEFORE = IceCredentials("Bb1+", "1123456789abcdefghijklmn")
UFRAG = st.text("AB+/", min_size=4, max_size=5)
PASSWORD = st.text("AB+/", min_size=22, max_size=22)
CREDENTIALS = st.builds(IceCredentials, UFRAG, PASSWORD)


@pytest.mark.parametrize(
    ("old", "new", "asked"),
    [
        ("", "", Asked.CANDIDATES),
        ("Ab1+", "Other", Asked.RESTART),
        ("01234", "98765", Asked.RESTART),
        ("a=ice-ufrag:Ab1+\n", "", Asked.CANDIDATES),
        ("Ab1+\na=ice-pwd:0", "Bb1+\na=ice-pwd:1", Asked.NOTHING),
    ],
)
@pytest.mark.parametrize("of_any", [True, False])
def test_other_credentials_are_a_restart_unless_they_were_the_clients_before(
    *, old: str, new: str, asked: Asked, of_any: bool
) -> None:
    fragment = parse_fragment(FRAGMENT.replace(old, new) if old else FRAGMENT)
    expected = Asked.THE_SAME_AGAIN if of_any and not old else asked
    assert fragment.asks(newest=NEWEST, past=[BEFORE], of_any=of_any) is expected


def test_before_the_first_restart_there_is_no_answer_to_repeat() -> None:
    assert parse_fragment(FRAGMENT).asks(newest=NEWEST, past=[], of_any=True) is Asked.CANDIDATES


@pytest.mark.parametrize("half", ["a=ice-ufrag:other", "a=ice-pwd:" + "z" * 22, "a=ice-ufrag:x\na=ice-pwd:" + "z" * 22])
def test_half_a_restart_or_one_outside_the_grammar_is_malformed(half: str) -> None:
    with pytest.raises(OfferError) as error:
        parse_fragment(half).asks(newest=NEWEST, past=[BEFORE], of_any=True)
    assert error.value.kind == "malformed"


@given(
    ufrag=st.none() | UFRAG,
    password=st.none() | PASSWORD,
    newest=CREDENTIALS,
    past=st.lists(CREDENTIALS, max_size=4),
    of_any=st.booleans(),
)
@settings(max_examples=300)
def test_a_restart_is_asked_for_exactly_by_credentials_that_are_complete_and_new(
    *, ufrag: str | None, password: str | None, newest: IceCredentials, past: list[IceCredentials], of_any: bool
) -> None:
    fragment = TrickleFragment(ufrag, password)
    known = [newest, *past]
    fits = [one for one in known if ufrag in (None, one.ufrag) and password in (None, one.password)]
    try:
        asked = fragment.asks(newest=newest, past=past, of_any=of_any)
    except OfferError:
        assert not fits and None in (ufrag, password)  # noqa: PT018 - one rule
        return
    assert (asked is Asked.RESTART) == (not fits)
    assert (asked is Asked.NOTHING) == (bool(fits) and newest not in fits)
    if asked is Asked.RESTART:
        assert fragment.credentials not in known


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
            parse_fragment(body)
        except OfferError as error:
            assert error.kind == "malformed"  # noqa: PT017 - it may be raised or not
