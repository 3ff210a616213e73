"""Who may do what: bearer tokens of the installation or of the platform, and what a session leaves open to everybody.

No token is needed where the session says Public, unless the request comes from a page of another site (its `Origin`
says so): such a page could use a viewer's network position. A session's owner may name sites (`access.origins`) whose
pages may watch without a token; they never publish or control. A token that is given must be right, on every route.
The refusal of a token says what to do, in the same words whatever is wrong with it. Only `Authorization` is read, never
a query or a cookie.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.requests import HTTPConnection

from genlock_core.claims.record import SessionRecord
from genlock_core.clock import Clock, SystemClock
from genlock_core.errors import AccessDenied
from genlock_core.spec.origins import is_among
from genlock_core.spec.session import AccessMode, ResolvedSession
from genlock_core.tokens import ALL_SESSIONS, Grant, Keyring, Role, is_ours
from genlock_gateway.access.problems import Problem, WrongToken
from genlock_gateway.edge.watch import vouch

PUBLISHER_HEADER: Final = "Genlock-Publisher"
MAX_JWT_CHARS: Final = 4_096
MAX_PUBLISHER_CHARS: Final = 128
CLOCK_SKEW_S: Final = 30


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """Checks JWTs signed by the platform: `exp`, `session` (`namespace/name` or `*`) and `role` are required claims."""

    key: Ed25519PublicKey | RSAPublicKey
    issuer: str | None
    audience: str | None

    @classmethod
    def load(cls, pem: str, *, issuer: str | None, audience: str | None) -> "PlatformKey":
        """`issuer` and `audience`: what its tokens have to name; None: anything. Raises ValueError unless it is an
        Ed25519 or RSA public key."""
        key = load_pem_public_key(pem.encode("ascii"))
        if not isinstance(key, Ed25519PublicKey | RSAPublicKey):
            raise ValueError(f"the JWT key is a {type(key).__name__}; Ed25519 (EdDSA) and RSA (RS256) are known")
        return cls(key, issuer, audience)

    def verify(self, token: str, session: str, role: Role) -> Grant:
        """What the token gives, at least `role` on `session`. Raises AccessDenied."""
        named, granted = self._read(token, session)
        if named not in (session, ALL_SESSIONS) or not granted.role.implies(role):
            raise AccessDenied(f"{session}: the token is not one for the role {role} on this session", missing=False)
        return granted

    def signed(self, token: str) -> bool:
        """Whether it is a valid token of the platform, for whatever session."""
        try:
            self._read(token, "the platform")
        except AccessDenied:
            return False
        return True

    def _read(self, token: str, session: str) -> tuple[str, Grant]:
        """The session that a token names, and what it gives there. Raises AccessDenied."""
        if len(token) > MAX_JWT_CHARS:
            raise AccessDenied(f"{session}: the token is longer than {MAX_JWT_CHARS} characters", missing=False)

        # The key decides the algorithm, never the token (RFC 8725 section 3.1).
        algorithm = "EdDSA" if isinstance(self.key, Ed25519PublicKey) else "RS256"
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self.key,
                algorithms=[algorithm],
                issuer=self.issuer,
                audience=self.audience,
                leeway=CLOCK_SKEW_S,
                options={"require": ["exp", "session", "role"], "verify_aud": self.audience is not None},
            )
            return str(claims["session"]), Grant(Role(claims["role"]), int(claims["exp"]))
        except (jwt.InvalidTokenError, ValueError):
            raise AccessDenied(f"{session}: the token is not a valid one of this platform", missing=False) from None


@dataclass(frozen=True, slots=True)
class Access:
    """The one place where a request becomes a role."""

    keyring: Keyring
    platform: PlatformKey | None = None
    clock: Clock = field(default_factory=SystemClock)

    def require(self, request: HTTPConnection, session: ResolvedSession, role: Role) -> Grant | None:
        """Let the request act as `role` on the session: by what its token gives, or (None) as everybody may.

        Raises AccessDenied, WrongToken for a token that is refused.
        """
        token = bearer(request)
        mode = session.access.publish if role is Role.PUBLISH else session.access.view
        public = role is not Role.ADMIN and mode is AccessMode.PUBLIC
        welcome = not from_another_site(request) or (role is Role.VIEW and _named_by_the_owner(request, session))

        if token is None and public:
            if not welcome:
                raise AccessDenied(f"{session.key}: a page of another site needs a token", missing=True)
            return None

        grant = self._check(token, str(session.key), role, needed=not (public and welcome))
        vouch(request)
        return grant

    def allows(self, request: HTTPConnection, session: ResolvedSession, role: Role) -> bool:
        """Whether `require` lets it pass."""
        try:
            self.require(request, session, role)
        except AccessDenied:
            return False
        return True

    def viewable(self, request: HTTPConnection, records: Iterable[SessionRecord]) -> list[SessionRecord]:
        """Those of the sessions that the request may watch. Raises AccessDenied, WrongToken for a token of nothing."""
        token = bearer(request)
        shown = [record for record in records if self.allows(request, record.session, Role.VIEW)]

        # Whoever sees a session with a token has a right one. Else it may be one that shows nothing now.
        signed = token is not None and self.platform is not None and self.platform.signed(token)
        if token is not None and not shown and not signed:
            try:
                self.verify(token, ALL_SESSIONS, Role.ADMIN)
            except AccessDenied:
                raise _wrong("the token is right for no session here", needed=False, command="SESSION") from None
        return shown

    def refuse_wrong(self, request: HTTPConnection, session: str, role: Role, *, needed: bool) -> None:
        """Let pass whoever gives no token, or a right one: for what needs no token, or is not there.

        Raises AccessDenied, WrongToken.
        """
        token = bearer(request)
        if token is not None:
            self._check(token, session, role, needed=needed)
            vouch(request)

    def role(self, request: HTTPConnection, session: ResolvedSession) -> Role:
        """What the request may do on a session that it may watch: publish, or no more than that."""
        return Role.PUBLISH if self.allows(request, session, Role.PUBLISH) else Role.VIEW

    def require_admin(self, request: HTTPConnection, session: str = ALL_SESSIONS) -> None:
        """Raises AccessDenied unless the request carries an admin token."""
        self._check(bearer(request), session, Role.ADMIN, needed=True)
        vouch(request)

    def viewer_token(
        self, request: HTTPConnection, session: ResolvedSession, *, lifetime_s: float
    ) -> tuple[str, int] | None:
        """A token with which somebody else may view the session, and when it ends, in seconds since 1970.

        It is for those who may publish and view, and never outlives the token that asks for it. None where everybody
        may view: a token that ended would only be refused there. Raises AccessDenied, WrongToken.
        """
        grants = [self.require(request, session, role) for role in (Role.PUBLISH, Role.VIEW)]
        if session.access.view is AccessMode.PUBLIC:
            return None

        ends = [grant.expires_s for grant in grants if grant is not None and grant.expires_s is not None]
        expires_s = min([int(self._now_s() + lifetime_s), *ends])
        return self.keyring.token(session.key, Role.VIEW, expires_s=expires_s), expires_s

    def verify(self, token: str | None, session: str, role: Role) -> Grant:
        """What a token gives. Raises AccessDenied."""
        if token is not None and self.platform is not None and not is_ours(token):
            return self.platform.verify(token, session, role)
        return self.keyring.verify(token, session, role, now_s=self._now_s())

    def _now_s(self) -> float:
        return self.clock.wall_ms() / 1_000

    def _check(self, token: str | None, session: str, role: Role, *, needed: bool) -> Grant:
        """`verify`, whose refusal of a token also says what to do. Raises AccessDenied, WrongToken."""
        try:
            return self.verify(token, session, role)
        except AccessDenied as refused:
            if refused.missing:
                raise

            subject = f"'{ALL_SESSIONS}'" if role is Role.ADMIN else session
            raise _wrong(str(refused), needed=needed, command=f"{subject} --role {role}") from None


def _wrong(what: str, *, needed: bool, command: str) -> WrongToken:
    """The refusal of a token: in the same words whatever is wrong with it, and with what to do."""
    instead = "" if needed else "go on without a token, as none is needed here, or "
    return WrongToken(
        f"{what}: not issued by this installation, no longer valid, or for another session or role; "
        f"{instead}get a new one with `genlock session token {command}`",
        needed=needed,
    )


def bearer(request: HTTPConnection) -> str | None:
    """The token of `Authorization: Bearer ...` (RFC 6750 section 2.1). Raises AccessDenied for another scheme."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AccessDenied("Authorization must be: Bearer <token>", missing=True)
    return token.strip()


def from_another_site(request: HTTPConnection) -> bool:
    """Whether a page of another origin makes the request; `Origin: null`, and what is none, is another one."""
    origin = request.headers.get("origin")
    if origin is None:
        return False
    try:
        # Not the scheme: whatever ends TLS before this gateway changes it.
        site = urlsplit(origin).netloc.lower()
    except ValueError:
        return True
    return site == "" or site != request.headers.get("host", "").lower()


def _named_by_the_owner(request: HTTPConnection, session: ResolvedSession) -> bool:
    """Whether the session's owner lets pages of that origin show it."""
    return is_among(request.headers.get("origin", ""), session.access.origins)


def publisher_key(request: HTTPConnection, resource: str) -> str:
    """Who a publisher is: the name it gives itself, else its token, else this one offer; as a digest, never in clear.

    Its address says nothing: a whole office may have one. Raises Problem (400) for a name that is too long or not
    visible ASCII.
    """
    name = request.headers.get(PUBLISHER_HEADER)
    if name is not None:
        if not name or len(name) > MAX_PUBLISHER_CHARS or not (name.isascii() and name.isprintable()):
            raise Problem(400, f"{PUBLISHER_HEADER} must be 1 to {MAX_PUBLISHER_CHARS} visible ASCII characters")
        return _digest("name", name)

    token = bearer(request)
    if token is not None:
        return _digest("token", token)
    return _digest("resource", resource)


def _digest(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}:{value}".encode()).hexdigest()
