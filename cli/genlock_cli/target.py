"""Which gateway, session and token a command means."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from genlock_cli.state_dir import DEFAULT_GATEWAY, StateDir
from genlock_core.errors import GenlockError
from genlock_core.spec.session import SessionKey
from genlock_core.tokens import SECRETS_FILE_VARIABLE, SECRETS_VARIABLE, Keyring, Role


def parse_session(text: str) -> SessionKey:
    """`demo` or `namespace/demo`. Raises GenlockError."""
    try:
        return SessionKey.parse(text)
    except ValidationError:
        raise GenlockError(f"{text!r} is not the name of a session; write for example demo or default/demo") from None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command goes: `--gateway`, else `$GENLOCK_GATEWAY`, else the running `genlock up`, else its default.

    `secrets`: the installation's, from `$GENLOCK_SECRETS` or `$GENLOCK_SECRETS_FILE` (a cluster's, say), else this
    machine's if it has some; an explicit state directory comes first. Tokens are made with them.
    """

    gateway: str
    token: str | None
    state: StateDir
    secrets: Keyring | None

    @classmethod
    def find(
        cls,
        *,
        gateway: str | None,
        token: str | None,
        state_dir: Path | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> "Target":
        """Raises InvalidSecrets if there are secrets and they cannot be read."""
        state = StateDir.find(state_dir, environment)
        running = state.running()
        found = gateway or environment.get("GENLOCK_GATEWAY") or (running.gateways[0] if running else DEFAULT_GATEWAY)
        told = state_dir is None and any(environment.get(name) for name in (SECRETS_VARIABLE, SECRETS_FILE_VARIABLE))
        secrets = state.keyring() if state.secrets_file.exists() else None
        return cls(
            found.rstrip("/"),
            token or environment.get("GENLOCK_TOKEN") or None,
            state,
            Keyring.from_environment(environment) if told else secrets,
        )

    def token_for(self, session: SessionKey, role: Role) -> str | None:
        """The given token, else one made with the secrets if there are any."""
        return self.token or (self.secrets.token(session, role) if self.secrets else None)

    def admin_token(self) -> str | None:
        return self.token or (self.secrets.token("*", Role.ADMIN) if self.secrets else None)
