"""Who may do what."""

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.requests import Request

from genlock_core.claims.record import SessionRecord
from genlock_core.errors import AccessDenied
from genlock_core.spec.session import ResolvedSession, SessionKey, StreamSessionSpec, resolve
from genlock_core.tokens import Keyring, Role, generate_secrets
from genlock_gateway.access.access import Access, PlatformKey, publisher_key
from genlock_gateway.access.problems import Problem, WrongToken, problem_of

RING = Keyring.parse(generate_secrets())
ED = ed25519.Ed25519PrivateKey.generate()
ED_OF_OTHERS = ed25519.Ed25519PrivateKey.generate()


def request(**headers: str) -> Request:
    pairs = [
        (name.replace("_", "-").lower().encode(), value.encode())
        for name, value in {"host": "g:8080", **headers}.items()
    ]
    return Request({"type": "http", "headers": pairs, "client": ("192.0.2.1", 5), "method": "POST", "path": "/"})


def session(**access: str | list[str]) -> ResolvedSession:
    return resolve(SessionKey(name="demo"), StreamSessionSpec.model_validate({"access": access}))


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def platform(key: Any = ED, **more: str | None) -> PlatformKey:
    return PlatformKey.load(pem(key), issuer=more.get("issuer"), audience=more.get("audience"))


def signed(key: Any = ED, algorithm: str = "EdDSA", **claims: Any) -> str:
    whole = {"exp": time.time() + 60, "session": "default/demo", "role": "publish", **claims}
    return jwt.encode({name: value for name, value in whole.items() if value is not None}, key, algorithm)


def denied(access: Access, asked: Request, to: ResolvedSession, role: Role) -> bool:
    """Whether it is refused; True for missing (401), raises for 403 only by the returned flag."""
    with pytest.raises(AccessDenied) as refused:
        access.require(asked, to, role)
    return refused.value.missing


def test_public_needs_no_token_and_token_needs_one() -> None:
    access = Access(RING)
    access.require(request(), session(view="Public"), Role.VIEW)
    assert denied(access, request(), session(view="Token"), Role.VIEW)
    assert denied(access, request(), session(), Role.PUBLISH)


def test_a_page_of_another_site_needs_a_token_even_where_it_is_public() -> None:
    access, public = Access(RING), session(view="Public", publish="Public")
    for origin in ("https://evil.example", "null", "http://g:9999"):
        assert denied(access, request(origin=origin), public, Role.VIEW)
    access.require(request(origin="http://g:8080"), public, Role.PUBLISH)
    token = f"Bearer {RING.token('default/demo', Role.VIEW)}"
    access.require(request(origin="https://evil.example", authorization=token), public, Role.VIEW)


PAGE = "https://www.example.org"


@pytest.mark.parametrize(
    ("origins", "origin", "host", "mode", "role", "passes"),
    [
        # The page that the owner named watches where everybody may.
        ([PAGE], PAGE, "g:8080", "Public", Role.VIEW, True),
        (["*"], PAGE, "g:8080", "Public", Role.VIEW, True),
        (["*"], "null", "g:8080", "Public", Role.VIEW, True),
        # Another one does not, nor one without an origin.
        ([PAGE], "https://other.example", "g:8080", "Public", Role.VIEW, False),
        ([PAGE], "http://www.example.org", "g:8080", "Public", Role.VIEW, False),
        ([PAGE], "null", "g:8080", "Public", Role.VIEW, False),
        ([PAGE], "http://[", "g:8080", "Public", Role.VIEW, False),
        ([], PAGE, "g:8080", "Public", Role.VIEW, False),
        # It never publishes, steers or administers, whatever everybody else may.
        ([PAGE], PAGE, "g:8080", "Public", Role.PUBLISH, False),
        (["*"], PAGE, "g:8080", "Public", Role.PUBLISH, False),
        (["*"], "null", "g:8080", "Public", Role.PUBLISH, False),
        (["*"], PAGE, "g:8080", "Public", Role.ADMIN, False),
        # Where a token is needed, it needs one as everybody does.
        ([PAGE], PAGE, "g:8080", "Token", Role.VIEW, False),
        # The gateway's own pages need not be named. A page is its own only by its whole host and port.
        ([], "http://g:8080", "g:8080", "Public", Role.PUBLISH, True),
        ([PAGE], "http://g:8080", "g:8080", "Public", Role.PUBLISH, True),
        ([PAGE], "http://g:8080", "g:9090", "Public", Role.VIEW, False),
        # Nothing is the same as nothing only by accident.
        ([], "null", "", "Public", Role.PUBLISH, False),
        ([], "", "", "Public", Role.PUBLISH, False),
    ],
)
def test_who_watches_from_a_page_of_another_site(
    origins: list[str], origin: str, host: str, mode: str, role: Role, passes: bool
) -> None:
    asked = request(origin=origin, host=host)
    assert Access(RING).allows(asked, session(publish=mode, view=mode, origins=origins), role) is passes


def test_a_token_is_worth_on_another_site_what_it_is_worth_here() -> None:
    access, named = Access(RING), session(publish="Public", view="Public", origins=["*"])
    for role, may_steer in ((Role.VIEW, False), (Role.PUBLISH, True)):
        asked = request(origin=PAGE, authorization=f"Bearer {RING.token('default/demo', role)}")
        assert access.allows(asked, named, Role.VIEW)
        assert access.allows(asked, named, Role.PUBLISH) is may_steer
    stranger = Keyring.parse(generate_secrets()).token("default/demo", Role.VIEW)
    error = refused(stranger, named, origin=PAGE)
    assert not error.needed, "the page may go on without it"


def test_a_token_that_is_given_must_be_right_even_where_none_is_needed() -> None:
    access, public = Access(RING), session(view="Public")
    wrong = request(authorization=f"Bearer {RING.token('default/other', Role.VIEW)}")
    assert not denied(access, wrong, public, Role.VIEW)


def refused(token: str, to: ResolvedSession, role: Role = Role.VIEW, **headers: str) -> WrongToken:
    with pytest.raises(WrongToken) as caught:
        Access(RING, platform()).require(request(authorization=f"Bearer {token}", **headers), to, role)
    return caught.value


def test_who_brings_a_wrong_token_to_a_public_session_hears_that_none_is_needed() -> None:
    stranger = Keyring.parse(generate_secrets()).token("default/demo", Role.VIEW)
    error = refused(stranger, session(view="Public"))
    assert "go on without a token" in str(error)
    assert "`genlock session token default/demo --role view`" in str(error)
    problem = problem_of(error)
    assert problem is not None
    assert (problem.status, problem.extra) == (403, {"reason": "wrong-token", "tokenNeeded": False})
    assert problem.headers["WWW-Authenticate"].startswith("Bearer")
    assert stranger not in f"{problem} {problem.response().body!r}"


def test_where_a_token_is_needed_a_wrong_one_is_not_sent_away_without() -> None:
    token = RING.token("default/other", Role.VIEW)
    for error in (
        refused(token, session(view="Token")),
        refused(token, session(view="Public"), Role.PUBLISH),
        refused(token, session(view="Public"), origin="https://evil.example"),
    ):
        assert error.needed
        assert "without a token" not in str(error)
        assert "genlock session token default/demo --role" in str(error)


def test_a_list_is_refused_to_a_token_that_is_right_for_nothing() -> None:
    open_, closed = (
        SessionRecord(session=session(view=view).model_copy(update={"key": SessionKey(name=name)}), pools=())
        for name, view in (("open", "Public"), ("closed", "Token"))
    )
    access = Access(RING, platform())

    def names(*records: SessionRecord, **headers: str) -> list[str]:
        return [record.name for record in access.viewable(request(**headers), records)]

    def bearing(token: str) -> dict[str, str]:
        return {"authorization": f"Bearer {token}"}

    assert names(open_, closed) == ["default/open"]
    assert names(open_, closed, **bearing(RING.token("default/closed", Role.VIEW))) == ["default/closed"]
    assert names(open_, closed, **bearing(RING.token("*", Role.ADMIN))) == ["default/open", "default/closed"]
    assert names(**bearing(RING.token("*", Role.ADMIN))) == [], "right, and there is nothing"
    assert names(open_, **bearing(signed(session="default/other"))) == [], "the platform's own, and not of these"
    stranger = Keyring.parse(generate_secrets())
    for token in (stranger.token("*", Role.ADMIN), RING.token("default/gone", Role.VIEW), signed(ED_OF_OTHERS), "x"):
        for records in ((open_, closed), ()):
            with pytest.raises(WrongToken, match="right for no session here: not issued by this") as caught:
                names(*records, **bearing(token))
            assert not caught.value.needed
            assert "`genlock session token SESSION`" in str(caught.value)
    with pytest.raises(AccessDenied, match="Bearer"):
        names(open_, authorization="Basic eA==")


def test_what_needs_no_token_takes_none_or_a_right_one() -> None:
    access = Access(RING)
    access.refuse_wrong(request(), "default/demo", Role.VIEW, needed=False)
    right = request(authorization=f"Bearer {RING.token('default/demo', Role.PUBLISH)}")
    access.refuse_wrong(right, "default/demo", Role.VIEW, needed=False)
    with pytest.raises(WrongToken):
        access.refuse_wrong(right, "default/other", Role.VIEW, needed=False)


def test_a_wrong_admin_token_hears_how_to_make_one() -> None:
    with pytest.raises(WrongToken, match=r"genlock session token '\*' --role admin"):
        Access(RING).require_admin(request(authorization=f"Bearer {RING.token('default/demo', Role.PUBLISH)}"))


def test_the_refusal_of_a_token_does_not_tell_what_is_wrong_with_it() -> None:
    digest = RING.token("default/demo", Role.VIEW).rpartition(".")[2]
    said = {
        str(refused(token, session(view="Public")))
        for token in (
            RING.token("default/other", Role.VIEW),
            Keyring.parse(generate_secrets()).token("default/demo", Role.VIEW),
            f"gl1.k1.{digest[::-1]}",
            f"gl1.old.{digest}",
            "gl1.k1.short",
        )
    }
    assert len(said) == 1


def test_roles_imply_what_they_should() -> None:
    access, closed = Access(RING), session(view="Token")
    for given, wanted, fits in [
        (Role.PUBLISH, Role.VIEW, True), (Role.VIEW, Role.PUBLISH, False),
        (Role.ADMIN, Role.PUBLISH, True), (Role.PUBLISH, Role.ADMIN, False),
    ]:  # fmt: skip
        token = RING.token("*" if given is Role.ADMIN else "default/demo", given)
        assert access.allows(request(authorization=f"Bearer {token}"), closed, wanted) is fits


@pytest.mark.parametrize(
    ("key", "algorithm"), [(ED, "EdDSA"), (rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256")]
)
def test_the_platforms_own_tokens_are_taken(key: Any, algorithm: str) -> None:
    access = Access(RING, platform(key))
    asked = request(authorization=f"Bearer {signed(key, algorithm)}")
    access.require(asked, session(view="Token"), Role.VIEW)
    access.require(asked, session(), Role.PUBLISH)
    everywhere = request(authorization=f"Bearer {signed(key, algorithm, session='*', role='admin')}")
    access.require_admin(everywhere)


def test_a_jwt_is_refused_for_every_reason_there_is() -> None:
    access = Access(RING, platform(issuer="https://id.example", audience="genlock"))
    right = {"iss": "https://id.example", "aud": "genlock"}
    access.require(request(authorization=f"Bearer {signed(**right)}"), session(), Role.PUBLISH)
    other = ed25519.Ed25519PrivateKey.generate()
    for bad in (
        signed(other, **right),
        signed(**right, exp=time.time() - 120),
        signed(exp=None, **right),
        signed(**right, session="default/other"),
        signed(**right, role="view"),
        signed(**right, role="king"),
        signed(**{**right, "iss": "https://other.example"}),
        signed(**{**right, "aud": "other"}),
        jwt.encode(
            {**right, "exp": time.time() + 60, "session": "default/demo", "role": "publish"}, pem(ED)[27:], "HS256"
        ),
        jwt.encode({**right, "exp": time.time() + 60, "session": "default/demo", "role": "publish"}, "", "none"),
        "eyJ.not.one",
        "x" * 5_000,
    ):
        assert not denied(access, request(authorization=f"Bearer {bad}"), session(), Role.PUBLISH)


def test_without_a_platform_key_a_jwt_is_no_token() -> None:
    assert not denied(Access(RING), request(authorization=f"Bearer {signed()}"), session(), Role.PUBLISH)


def test_another_kind_of_key_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="Ed25519"):
        platform(ec.generate_private_key(ec.SECP256R1()))


def key(resource: str = "r1", **headers: str) -> str:
    return publisher_key(request(**headers), resource)


def test_a_publisher_is_its_name_else_its_token_else_its_offer() -> None:
    named = key(genlock_publisher="cam-1")
    assert named == key("r2", genlock_publisher="cam-1", authorization="Bearer other")
    assert named != key(genlock_publisher="cam-2")
    assert key("r1", authorization="Bearer a") == key("r2", authorization="Bearer a")
    assert key(authorization="Bearer a") != key(authorization="Bearer b")
    assert key("r1") != key("r2"), "they come from one address, and are two"
    assert "cam-1" not in named
    for bad in ("", "x" * 129, "tab\t"):
        with pytest.raises(Problem):
            key(genlock_publisher=bad)
