"""STUN and TURN servers, and the credentials that end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.ice_servers import IceServer, TurnSecret, told

STUN = IceServer("stun:s:3478")
FIXED = IceServer("turn:t:3478", "u", "c")
TURN = IceServer("turns:t:5349")


def test_a_password_is_what_turn_servers_make_of_the_same_secret_and_name() -> None:
    # printf '1700000000:default/demo' | openssl dgst -sha1 -hmac secret -binary | base64
    name, password = TurnSecret(b"secret").credentials("default/demo", until_s=1_700_000_000)
    assert (name, password) == ("1700000000:default/demo", "SHjzz9oX2wP6KZbqB1hzfy0AQX4=")


def test_only_turn_servers_without_credentials_get_them() -> None:
    stun, fixed, turn = told([STUN, FIXED, TURN], TurnSecret(b"secret"), user="default/demo", until_s=60)
    assert (stun, fixed) == (STUN, FIXED)
    assert (turn.url, turn.username) == (TURN.url, "60:default/demo")
    assert told([STUN, FIXED], None, user="default/demo", until_s=60) == (STUN, FIXED)


def test_no_secret_is_in_a_repr() -> None:
    assert "hunter2" not in repr((TurnSecret(b"hunter2"), IceServer("turn:t:1", "u", "hunter2")))


@given(st.text(max_size=60))
def test_any_text_is_a_server_or_a_mistake(text: str) -> None:
    for written in (text, f"turn:{text}", f"turn:t:1,username={text},credential=c"):
        try:
            server = IceServer.parse(written)
        except ValueError:
            continue
        assert (server.username is None) == (server.credential is None)
        assert not {'"', "<", ">", "\n", " "} & set(server.url)


@given(st.text(max_size=60))
def test_a_secret_is_what_stands_in_its_file_without_white_space_round_it(text: str) -> None:
    if text.strip():
        assert TurnSecret.parse(f" {text}\n").value == text.strip().encode()
    else:
        with pytest.raises(ValueError, match="empty"):
            TurnSecret.parse(text)
