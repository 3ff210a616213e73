"""Access tokens: HMAC-SHA256 over a session's name and a role. Nothing is stored per session.

A token reads `gl1.<key id>.<base64url>`, or `gl2.<key id>.<expiry>.<base64url>` if it is good for a while only: the
expiry is in seconds since 1970 and part of what is signed. The first secret of the keyring signs, and all of them
verify. To rotate, put a new key in front, and take the old one out once its tokens may die.

The link's secret is derived here as well: an installation has one thing to keep.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

from genlock_core.errors import AccessDenied, BadInput
from genlock_core.spec.session import SessionKey

ALL_SESSIONS = "*"
"""The session of an admin token: it belongs to the installation."""
MIN_SECRET_CHARS = 16
MAX_TOKEN_CHARS = 256
SECRETS_VARIABLE = "GENLOCK_SECRETS"
SECRETS_FILE_VARIABLE = "GENLOCK_SECRETS_FILE"

_FOR_EVER, _FOR_A_WHILE = "gl1", "gl2"
_KEY_ID = re.compile(r"[a-zA-Z0-9_-]{1,32}")
_EXPIRY = re.compile(r"[1-9][0-9]{0,11}")
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")


class InvalidSecrets(BadInput):
    """The installation's secrets cannot be read; the message never holds one."""


class Role(StrEnum):
    """What a token allows. Publish implies view (and control); admin implies everything, on every session."""

    PUBLISH = "publish"
    VIEW = "view"
    ADMIN = "admin"

    def implies(self, other: "Role") -> bool:
        return self is Role.ADMIN or self is other or (self is Role.PUBLISH and other is Role.VIEW)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token gives: a role, and until when; None: for as long as its key is there."""

    role: Role
    expires_s: int | None = None
    """In seconds since 1970."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One secret of the installation and its name; the secret is in no representation."""

    key_id: str
    secret: bytes = field(repr=False)

    def mac(self, message: str) -> bytes:
        return hmac.new(self.secret, message.encode(), hashlib.sha256).digest()


@dataclass(frozen=True, slots=True)
class Keyring:
    """The installation's secrets, never empty: the first signs, all verify."""

    keys: tuple[SigningKey, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `keyid:secret,keyid:secret`, or one per line. Raises InvalidSecrets."""
        entries = [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]
        if not entries:
            raise InvalidSecrets("there is no secret; write keyid:secret, the secret at least 16 characters long")
        keys = tuple(_signing_key(entry, number) for number, entry in enumerate(entries, start=1))
        if len({key.key_id for key in keys}) != len(keys):
            raise InvalidSecrets("two secrets have the same key id; give each its own")
        return cls(keys)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """From a file in `parse`'s form. Raises InvalidSecrets, also if it cannot be read."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSecrets(f"cannot read the secrets in {path}: {type(error).__name__}") from None
        return cls.parse(text)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """From `GENLOCK_SECRETS`, else the file named by `GENLOCK_SECRETS_FILE`. Raises InvalidSecrets."""
        if text := environ.get(SECRETS_VARIABLE):
            return cls.parse(text)
        if path := environ.get(SECRETS_FILE_VARIABLE):
            return cls.from_file(Path(path))
        raise InvalidSecrets(f"set {SECRETS_VARIABLE} (keyid:secret) or {SECRETS_FILE_VARIABLE} (a file with the same)")

    @property
    def key_ids(self) -> tuple[str, ...]:
        return tuple(key.key_id for key in self.keys)

    def token(self, key: SessionKey | str, role: Role, *, expires_s: int | None = None) -> str:
        """A token for one session (`namespace/name`), or for all of them if the role is admin.

        `expires_s`: when it ends, in seconds since 1970; None: never. Raises ValueError for what is no such time.
        """
        signing = self.keys[0]
        digest = base64.urlsafe_b64encode(signing.mac(_message(key, role, expires_s))).rstrip(b"=").decode()
        if expires_s is None:
            return f"{_FOR_EVER}.{signing.key_id}.{digest}"
        if not _EXPIRY.fullmatch(str(expires_s)):
            raise ValueError(f"a token cannot expire at {expires_s}")
        return f"{_FOR_A_WHILE}.{signing.key_id}.{expires_s}.{digest}"

    def verify(self, token: str | None, key: SessionKey | str, role: Role, *, now_s: float) -> Grant:
        """What the token gives, at least `role` on this session, at `now_s` since 1970. Raises AccessDenied.

        `missing=True` (HTTP 401) for no token at all, `missing=False` (HTTP 403) for every other refusal. Compares in
        constant time; the message tells neither token nor secret, nor which part of the token was wrong.
        """
        if not token:
            raise AccessDenied(f"{key}: a token for the role {role} is needed", missing=True)

        signing, expires_s, given = self._read(token)
        granted: Role | None = None
        for candidate in Role:
            right = hmac.compare_digest(signing.mac(_message(key, candidate, expires_s)), given)
            if right and candidate.implies(role):
                granted = candidate

        over = expires_s is not None and expires_s <= now_s
        if granted is None or over or signing not in self.keys:
            raise AccessDenied(f"{key}: the token is not one for the role {role} on this session", missing=False)
        return Grant(granted, expires_s)

    def link_secrets(self) -> tuple[bytes, ...]:
        """The secret of the gateway-worker link, 32 bytes, under each key of the ring; the first one signs.

        All of them count, so that both sides may rotate one after the other.
        """
        return tuple(key.mac("genlock link v1") for key in self.keys)

    def _read(self, token: str) -> tuple[SigningKey, int | None, bytes]:
        """The key that a token names, its expiry, and its digest.

        A token that cannot be read gets a key and a digest that fit nothing: it is refused in the same way, and in the
        same time, as a wrong one.
        """
        nothing = SigningKey("", secrets.token_bytes(32)), None, b""
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            return nothing

        match token.split("."):
            case [version, key_id, digest] if version == _FOR_EVER:
                expires_s = None
            case [version, key_id, expiry, digest] if version == _FOR_A_WHILE and _EXPIRY.fullmatch(expiry):
                expires_s = int(expiry)
            case _:
                return nothing

        signing = next((key for key in self.keys if key.key_id == key_id), None)
        if signing is None or not _DIGEST.fullmatch(digest):
            return nothing
        return signing, expires_s, base64.urlsafe_b64decode(digest + "=")


def is_ours(token: str) -> bool:
    """Whether a token has the form of an installation's own, right or wrong; others may be the platform's."""
    return token.partition(".")[0] in (_FOR_EVER, _FOR_A_WHILE)


def generate_secrets(key_id: str = "k1") -> str:
    """A new installation secret in `Keyring.parse`'s form."""
    return f"{key_id}:{secrets.token_urlsafe(32)}"


def _message(key: SessionKey | str, role: Role, expires_s: int | None) -> str:
    """What is signed. No role has a digit, so no message of one kind of token is one of the other kind."""
    message = f"{ALL_SESSIONS if role is Role.ADMIN else key}/{role}"
    return message if expires_s is None else f"{message}/{expires_s}"


def _signing_key(entry: str, number: int) -> SigningKey:
    key_id, separator, secret = entry.partition(":")
    if not separator or not _KEY_ID.fullmatch(key_id):
        raise InvalidSecrets(f"secret {number} does not read keyid:secret (a key id has letters, digits, - and _)")
    if len(secret) < MIN_SECRET_CHARS:
        raise InvalidSecrets(f"the secret of key {key_id!r} is shorter than {MIN_SECRET_CHARS} characters")
    return SigningKey(key_id, secret.encode())
