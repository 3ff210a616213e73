"""Which gateway, session and token a command means."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from genlock_cli.exit_status import Unreachable
from genlock_cli.state_dir import DEFAULT_GATEWAY, STATE_DIR_VARIABLE, StateDir
from genlock_cli.ups import Up, Ups
from genlock_core.errors import BadInput
from genlock_core.spec.session import DNS_LABEL, SessionKey
from genlock_core.tokens import SECRETS_FILE_VARIABLE, SECRETS_VARIABLE, Keyring, Role

GATEWAY_VARIABLE = "GENLOCK_GATEWAY"
TOKEN_VARIABLE = "GENLOCK_TOKEN"  # noqa: S105 - the name of a variable
_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def parse_session(text: str, namespace: str | None = None) -> SessionKey:
    """`demo` or `namespace/demo`; `namespace`: what --namespace says. Raises BadInput."""
    if namespace is not None and not re.fullmatch(DNS_LABEL, namespace):
        raise BadInput(f"{namespace!r} is not the name of a namespace; write for example studio")
    there, _, _ = text.rpartition("/")
    if there and namespace and there != namespace:
        raise BadInput(f"{text!r} is not in the namespace {namespace!r}; leave one of the two out")
    try:
        return SessionKey.parse(text if there or not namespace else f"{namespace}/{text}")
    except ValidationError:
        raise BadInput(f"{text!r} is not the name of a session; write for example demo or default/demo") from None


def gateway_url(text: str) -> str:
    """The address of a gateway as every command uses it: without a slash at its end. Raises BadInput."""
    mistake = f"{text!r} is not the address of a gateway; write for example {DEFAULT_GATEWAY}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadInput(mistake) from None
    fits = parts.scheme in ("http", "https") and parts.hostname and port != 0 and text.isascii() and text.isprintable()
    if not fits or parts.query or parts.fragment or " " in text:
        raise BadInput(mistake)
    return text.rstrip("/")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command goes, and with what.

    `secrets`: those of the installation that the gateway belongs to, where this machine has them. Tokens are made with
    them. `state`: the state directory of the `genlock up` that is meant, else the one that would be used.
    """

    gateway: str
    token: str | None
    """What was given; "" means none at all, and none is made."""
    state: StateDir
    secrets: Keyring | None

    @classmethod
    def find(
        cls,
        *,
        gateway: str | None,
        token: str | None,
        state_dir: Path | None = None,
        needs_running: bool = True,
        environment: Mapping[str, str] = os.environ,
    ) -> "Target":
        """By what was given, the environment, and what runs here.

        The gateway: `--gateway`, else `$GENLOCK_GATEWAY`, else that of the `genlock up` which is meant
        (`meant_up`), else its default.

        The secrets follow from the gateway: those of the state directory that was named, else of the `genlock up` that
        serves there, else those of `$GENLOCK_SECRETS` or `$GENLOCK_SECRETS_FILE` (a cluster's), else this user's own,
        for a gateway of this machine. No other gateway gets a token that was made here.

        `needs_running`: whether the command has to reach the gateway. Raises InvalidSecrets if there are secrets and
        they cannot be read; BadInput, Unreachable.
        """
        ups = Ups.of_this_user(environment).running()
        asked = gateway or environment.get(GATEWAY_VARIABLE)
        if asked:
            url = gateway_url(asked)
            up = serving(url, ups)
        elif not needs_running and (state_dir is not None or _tells_secrets(environment)):
            # No gateway is asked, and whose secrets are meant was said.
            up = None
            url = DEFAULT_GATEWAY
        else:
            up = meant_up(state_dir, environment, ups)
            url = up.running.gateways[0] if up is not None else DEFAULT_GATEWAY

        state = StateDir.find(state_dir, environment)
        if up is not None and state_dir is None:
            state = up.state
        return cls(
            url,
            _checked_token(environment.get(TOKEN_VARIABLE) or None if token is None else token),
            state,
            _secrets(url, state, is_its_own=state_dir is not None or up is not None, environment=environment),
        )

    def token_for(self, session: SessionKey, role: Role) -> str | None:
        """The given token, else one made with the secrets if there are any."""
        return self._token(session, role)

    def admin_token(self) -> str | None:
        return self._token("*", Role.ADMIN)

    def keyring(self) -> Keyring:
        """The secrets of the gateway's installation; made for this machine's own. Raises BadInput where they are not
        here, InvalidSecrets, NotWritable."""
        if self.secrets is None and not _is_here(self.gateway):
            raise BadInput(
                f"the secrets of {self.gateway} are not here; set {SECRETS_VARIABLE} or {SECRETS_FILE_VARIABLE}, "
                "or name the state folder of its `genlock up` with --state-dir"
            )
        return self.secrets or self.state.keyring()

    def _token(self, subject: SessionKey | str, role: Role) -> str | None:
        if self.token is not None:
            return self.token or None
        return self.secrets.token(subject, role) if self.secrets else None


def meant_up(state_dir: Path | None, environment: Mapping[str, str], ups: Sequence[Up]) -> Up | None:
    """The running `genlock up` that a command means which names no gateway; None if none runs and none was named.

    It is that of the named state directory, else the one with the usual directory, else the only one. Raises
    Unreachable for a directory that nothing runs with, BadInput where it could be one of several.
    """
    named = state_dir is not None or bool(environment.get(STATE_DIR_VARIABLE))
    state = StateDir.find(state_dir, environment)
    running = state.running()
    if running is not None:
        return Up(state, running)
    if state_dir is not None:
        raise Unreachable(
            f"no `genlock up` runs with {state.path}; start it with `genlock up --state-dir {state.path}`"
        )
    if named or not ups:
        return None
    if len(ups) > 1:
        choices = ", ".join(f"--state-dir {up.state.path}" for up in ups)
        raise BadInput(f"{len(ups)} `genlock up` run here; say which one you mean: {choices}")
    return ups[0]


def state_meant(state_dir: Path | None, environment: Mapping[str, str]) -> StateDir:
    """The state directory that a command means which needs nothing to run: the named one, else that of what runs, else
    the usual one. Raises BadInput where it could be one of several."""
    if state_dir is not None:
        return StateDir(state_dir)
    up = meant_up(None, environment, Ups.of_this_user(environment).running())
    return up.state if up is not None else StateDir.find(None, environment)


def serving(url: str, ups: Sequence[Up]) -> Up | None:
    """The running `genlock up` that has a gateway at this address."""
    return next((up for up in ups if any(_is_same(url, one) for one in up.running.gateways)), None)


def _is_same(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    names = {first.hostname, second.hostname}
    return _port(one) == _port(other) and (len(names) == 1 or names <= _THIS_MACHINE)


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _checked_token(token: str | None) -> str | None:
    stripped = None if token is None else token.strip()
    if stripped and not (stripped.isascii() and stripped.isprintable() and " " not in stripped):
        raise BadInput("a token has only letters, digits, points, - and _; is this one whole, and nothing but it?")
    return stripped


def _secrets(url: str, state: StateDir, *, is_its_own: bool, environment: Mapping[str, str]) -> Keyring | None:
    if is_its_own:
        return state.known_keyring()
    if _tells_secrets(environment):
        return Keyring.from_environment(environment)
    return state.known_keyring() if _is_here(url) else None


def _tells_secrets(environment: Mapping[str, str]) -> bool:
    return any(environment.get(name) for name in (SECRETS_VARIABLE, SECRETS_FILE_VARIABLE))


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in _THIS_MACHINE
