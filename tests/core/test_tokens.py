from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.errors import AccessDenied
from genlock_core.spec.session import SessionKey
from genlock_core.tokens import Grant, InvalidSecrets, Keyring, Role, generate_secrets, is_ours

FIRST, SECOND = "first-secret-0123456789", "second-secret-0123456789"
RING = Keyring.parse(f"a:{FIRST}")
KEY = SessionKey(name="demo")
NOW_S = 1_800_000_000.0
SOON_S = 1_800_000_060


@pytest.mark.parametrize(
    ("held", "asked", "granted"),
    [
        (Role.PUBLISH, Role.PUBLISH, True),
        (Role.PUBLISH, Role.VIEW, True),
        (Role.PUBLISH, Role.ADMIN, False),
        (Role.VIEW, Role.VIEW, True),
        (Role.VIEW, Role.PUBLISH, False),
        (Role.VIEW, Role.ADMIN, False),
        (Role.ADMIN, Role.ADMIN, True),
        (Role.ADMIN, Role.PUBLISH, True),
        (Role.ADMIN, Role.VIEW, True),
    ],
)
def test_a_role_allows_what_it_implies(held: Role, asked: Role, granted: bool) -> None:
    token = RING.token(KEY, held)
    if granted:
        assert RING.verify(token, KEY, asked, now_s=NOW_S) == Grant(held)
    else:
        with pytest.raises(AccessDenied) as caught:
            RING.verify(token, KEY, asked, now_s=NOW_S)
        assert not caught.value.missing


def test_a_token_is_for_one_session_unless_it_is_the_admins() -> None:
    other = SessionKey(name="other")
    with pytest.raises(AccessDenied):
        RING.verify(RING.token(KEY, Role.PUBLISH), other, Role.VIEW, now_s=NOW_S)
    assert RING.verify(RING.token("*", Role.ADMIN), other, Role.PUBLISH, now_s=NOW_S) == Grant(Role.ADMIN)
    assert RING.token(KEY, Role.ADMIN) == RING.token("*", Role.ADMIN)
    with pytest.raises(AccessDenied):
        RING.verify(RING.token("*", Role.PUBLISH), KEY, Role.PUBLISH, now_s=NOW_S)


def test_a_key_is_the_same_as_text() -> None:
    assert RING.token(KEY, Role.VIEW) == RING.token("default/demo", Role.VIEW)


@pytest.mark.parametrize("token", [None, ""])
def test_no_token_at_all_is_missing(token: str | None) -> None:
    with pytest.raises(AccessDenied) as caught:
        RING.verify(token, KEY, Role.VIEW, now_s=NOW_S)
    assert caught.value.missing


@given(
    st.text(max_size=80)
    | st.from_regex(r"gl1\.a\.[A-Za-z0-9_-]{43}|gl2\.a\.[0-9]{1,13}\.[A-Za-z0-9_-]{43}", fullmatch=True)
)
def test_any_text_is_refused_and_never_repeated(token: str) -> None:
    with pytest.raises(AccessDenied) as caught:
        RING.verify(token, KEY, Role.VIEW, now_s=NOW_S)
    assert caught.value.missing == (token == "")
    assert len(token) < 20 or token not in str(caught.value)


@pytest.mark.parametrize("change", ["gl2", "gl1.b", "gl1.a.A", "cut", "long", "case"])
def test_a_token_that_was_changed_anywhere_is_refused(change: str) -> None:
    token = RING.token(KEY, Role.VIEW)
    digest = token.rsplit(".", 1)[1]
    changed = {
        "gl2": f"gl2.a.{digest}",
        "gl1.b": f"gl1.b.{digest}",
        "gl1.a.A": f"gl1.a.{'B' if digest[0] == 'A' else 'A'}{digest[1:]}",
        "cut": token[:-1],
        "long": token + "A" * 300,
        "case": f"gl1.a.{digest.swapcase()}",
    }[change]
    with pytest.raises(AccessDenied):
        RING.verify(changed, KEY, Role.VIEW, now_s=NOW_S)


def test_a_token_that_expires_is_good_until_then() -> None:
    token = RING.token(KEY, Role.PUBLISH, expires_s=SOON_S)
    assert RING.verify(token, KEY, Role.VIEW, now_s=NOW_S) == Grant(Role.PUBLISH, SOON_S)
    assert RING.verify(token, KEY, Role.VIEW, now_s=SOON_S - 0.001) == Grant(Role.PUBLISH, SOON_S)
    for now_s in (SOON_S, SOON_S + 1e9):
        with pytest.raises(AccessDenied) as caught:
            RING.verify(token, KEY, Role.VIEW, now_s=now_s)
        assert not caught.value.missing
    with pytest.raises(AccessDenied):
        RING.verify(token, SessionKey(name="other"), Role.VIEW, now_s=NOW_S)
    with pytest.raises(AccessDenied):
        RING.verify(token, KEY, Role.ADMIN, now_s=NOW_S)


def test_an_expiry_cannot_be_moved_added_or_taken_away() -> None:
    lasting, ending = RING.token(KEY, Role.VIEW), RING.token(KEY, Role.VIEW, expires_s=SOON_S)
    version, key_id, _, digest = ending.split(".")
    for forged in (
        f"{version}.{key_id}.{SOON_S + 1}.{digest}",
        f"{version}.{key_id}.0{SOON_S}.{digest}",
        f"{version}.{key_id}.{SOON_S}0.{digest}",
        f"{version}.{key_id}..{digest}",
        f"{version}.{key_id}.-1.{digest}",
        f"{version}.{key_id}.1e99.{digest}",
        f"{version}.{key_id}.{digest}",
        f"gl1.{key_id}.{digest}",
        f"gl1.{key_id}.{SOON_S}.{digest}",
        f"gl2.{key_id}.{SOON_S}.{lasting.rpartition('.')[2]}",
    ):
        with pytest.raises(AccessDenied):
            RING.verify(forged, KEY, Role.VIEW, now_s=NOW_S)
    # Nor can a session's name carry one: the two kinds never sign the same text.
    assert ending.rpartition(".")[2] != RING.token(f"default/demo/view/{SOON_S}", Role.VIEW).rpartition(".")[2]


@pytest.mark.parametrize("expires_s", [0, -1, 10**12])
def test_a_token_is_not_made_for_a_time_that_is_none(expires_s: int) -> None:
    with pytest.raises(ValueError, match="cannot expire"):
        RING.token(KEY, Role.VIEW, expires_s=expires_s)


def test_a_token_of_an_installation_is_known_by_its_form() -> None:
    assert is_ours(RING.token(KEY, Role.VIEW))
    assert is_ours(RING.token(KEY, Role.VIEW, expires_s=SOON_S))
    assert not is_ours("eyJhbGciOiJFZERTQSJ9.e30.c2ln")


def test_rotation_all_verify_the_first_signs() -> None:
    old = RING.token(KEY, Role.VIEW)
    rotated = Keyring.parse(f"b:{SECOND},a:{FIRST}")
    assert rotated.verify(old, KEY, Role.VIEW, now_s=NOW_S) == Grant(Role.VIEW)
    assert rotated.token(KEY, Role.VIEW).startswith("gl1.b.")
    assert rotated.key_ids == ("b", "a")
    with pytest.raises(AccessDenied):
        Keyring.parse(f"b:{SECOND}").verify(old, KEY, Role.VIEW, now_s=NOW_S)


def test_a_key_of_the_same_id_with_another_secret_verifies_nothing_of_the_first() -> None:
    with pytest.raises(AccessDenied):
        Keyring.parse(f"a:{SECOND}").verify(RING.token(KEY, Role.VIEW), KEY, Role.VIEW, now_s=NOW_S)


def test_the_links_secret_is_derived_and_rotates_with_the_ring() -> None:
    rotated = Keyring.parse(f"b:{SECOND},a:{FIRST}")
    assert len(RING.link_secrets()[0]) == 32
    assert RING.link_secrets()[0] in rotated.link_secrets()
    assert rotated.link_secrets()[0] != RING.link_secrets()[0]
    assert FIRST.encode() not in RING.link_secrets()[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ,\n",
        "nosecret-but-long-enough",
        "a:short",
        f":{FIRST}",
        f"a b:{FIRST}",
        f"a:{FIRST},a:{SECOND}",
        f"a.b:{FIRST}",
    ],
)
def test_secrets_that_are_short_nameless_or_doubled_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(InvalidSecrets) as caught:
        Keyring.parse(text)
    for secret in (FIRST, SECOND, "short\n", "nosecret"):
        assert secret not in str(caught.value)


def test_no_representation_shows_a_secret() -> None:
    for text in (repr(RING), str(RING), repr(RING.keys[0])):
        assert FIRST not in text


def test_secrets_come_from_the_environment_or_its_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text(f"b:{SECOND}\na:{FIRST}\n")
    assert Keyring.from_environment({"GENLOCK_SECRETS_FILE": str(path)}).key_ids == ("b", "a")
    assert Keyring.from_environment({"GENLOCK_SECRETS": f"a:{FIRST}", "GENLOCK_SECRETS_FILE": "x"}) == RING
    with pytest.raises(InvalidSecrets, match="cannot read"):
        Keyring.from_environment({"GENLOCK_SECRETS_FILE": str(tmp_path / "none")})
    with pytest.raises(InvalidSecrets, match="GENLOCK_SECRETS"):
        Keyring.from_environment({})


def test_new_secrets_are_valid_and_never_the_same() -> None:
    assert Keyring.parse(generate_secrets("k9")).key_ids == ("k9",)
    assert generate_secrets() != generate_secrets()
