"""What `genlock` keeps on this machine: the installation's secret, and where the running gateway is.

The directory is private to its user (0700, the secret 0600). `genlock up` holds a lock on it while it runs.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from genlock_core.errors import GenlockError
from genlock_core.tokens import Keyring, generate_secrets

DEFAULT_GATEWAY = "http://127.0.0.1:8080"


class AlreadyUp(GenlockError):
    """Another `genlock up` runs with the same state directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"another `genlock up` runs with {path}; stop it first, "
            "or give this one a --state-dir and a --port of its own"
        )


@dataclass(frozen=True, slots=True)
class Running:
    """What a running `genlock up` tells the other commands."""

    pid: int
    gateways: tuple[str, ...]
    redis: str


@dataclass(frozen=True, slots=True)
class StateDir:
    """The directory; nothing is written before it is needed."""

    path: Path

    @classmethod
    def find(cls, given: Path | None, environment: Mapping[str, str]) -> "StateDir":
        """`--state-dir`, else `$GENLOCK_STATE_DIR`, else `$XDG_STATE_HOME/genlock`, else `~/.local/state/genlock`."""
        if given is not None:
            return cls(given)
        if named := environment.get("GENLOCK_STATE_DIR"):
            return cls(Path(named))
        base = environment.get("XDG_STATE_HOME")
        return cls((Path(base) if base else Path.home() / ".local" / "state") / "genlock")

    @property
    def secrets_file(self) -> Path:
        return self.path / "secrets"

    @property
    def links_file(self) -> Path:
        """Links with tokens, for phones; there while `genlock up --lan` runs."""
        return self.path / "lan-links"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def keyring(self) -> Keyring:
        """The installation's secrets, made at the first use. Raises InvalidSecrets."""
        if not self.secrets_file.exists():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # O_EXCL: of two commands that start at once, one writes and the other reads.
            try:
                handle = os.open(self.secrets_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return Keyring.from_file(self.secrets_file)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(generate_secrets() + "\n")
        return Keyring.from_file(self.secrets_file)

    def lock(self) -> IO[str]:
        """Hold the directory for as long as the returned file is open. Raises AlreadyUp."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (self.path / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise AlreadyUp(self.path) from None
        return file

    def announce(self, running: Running) -> None:
        (self.path / "up.json").write_text(json.dumps(asdict(running)))

    def forget(self) -> None:
        for file in (self.path / "up.json", self.links_file):
            file.unlink(missing_ok=True)

    def running(self) -> Running | None:
        """The `genlock up` that was announced last, None if there is none or its file cannot be read."""
        try:
            data = json.loads((self.path / "up.json").read_text())
            return Running(int(data["pid"]), tuple(data["gateways"]), str(data["redis"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
