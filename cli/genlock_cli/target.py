"""Which gateway, session and token a command means."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from genlock_cli.state_dir import DEFAULT_GATEWAY, StateDir
from genlock_core.errors import GenlockError
from genlock_core.spec.session import SessionKey
from genlock_core.tokens import Role


def parse_session(text: str) -> SessionKey:
    """`demo` or `namespace/demo`. Raises GenlockError."""
    try:
        return SessionKey.parse(text)
    except ValidationError:
        raise GenlockError(f"{text!r} is not the name of a session; write for example demo or default/demo") from None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command goes: `--gateway`, else `$GENLOCK_GATEWAY`, else the running `genlock up`, else its default."""

    gateway: str
    token: str | None
    state: StateDir

    @classmethod
    def find(
        cls,
        *,
        gateway: str | None,
        token: str | None,
        state_dir: Path | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> "Target":
        state = StateDir.find(state_dir, environment)
        running = state.running()
        found = gateway or environment.get("GENLOCK_GATEWAY") or (running.gateways[0] if running else DEFAULT_GATEWAY)
        return cls(found.rstrip("/"), token or environment.get("GENLOCK_TOKEN") or None, state)

    def token_for(self, session: SessionKey, role: Role) -> str | None:
        """The given token, else one made with this machine's secret if there is one."""
        if self.token:
            return self.token
        return self.state.keyring().token(session, role) if self.state.secrets_file.exists() else None

    def admin_token(self) -> str | None:
        if self.token:
            return self.token
        return self.state.keyring().token("*", Role.ADMIN) if self.state.secrets_file.exists() else None
