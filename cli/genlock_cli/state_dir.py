"""What `genlock` keeps on this machine: the installation's secret, and what a running `genlock up` says of itself.

The directory is private to its user (0700, the secret 0600). `genlock up` holds a lock on it while it runs, so that
nobody takes the announcement of a dead one for the truth.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Final

from genlock_cli.exit_status import CommandError, ExitStatus
from genlock_core.errors import BadInput
from genlock_core.tokens import Keyring, generate_secrets

DEFAULT_GATEWAY: Final = "http://127.0.0.1:8080"
STATE_DIR_VARIABLE: Final = "GENLOCK_STATE_DIR"
_LOCK_ATTEMPTS: Final = 10
_LOCK_RETRY_S: Final = 0.05
"""Whoever looks whether the lock is held holds it for a moment itself."""


class AlreadyUp(CommandError):
    """Another `genlock up` runs with the same state directory."""

    exit_status = ExitStatus.TAKEN

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"another `genlock up` runs with {path}; stop it first with `genlock down --state-dir {path}`, "
            "or give this one a --state-dir and a --port of its own"
        )


class NotWritable(CommandError):
    """A state directory that cannot be made or written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"cannot write to {path}: {error.strerror or error}; choose another folder with --state-dir")


class UpState(StrEnum):
    """Where a `genlock up` is in its life."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """One child process of a running `genlock up`."""

    name: str
    role: str
    state: str
    pid: int | None
    restarts: int


@dataclass(frozen=True, slots=True)
class Running:
    """What a running `genlock up` tells the other commands."""

    pid: int
    gateways: tuple[str, ...]
    redis: str
    state: UpState = UpState.UP
    began_at: float = 0.0
    """Seconds since 1970."""
    processes: tuple[RunningProcess, ...] = ()
    refused: tuple[str, ...] = ()
    """Sessions of its manifest that it cannot serve, each with the reason."""

    @classmethod
    def from_json(cls, text: str) -> "Running":
        """Raises ValueError, KeyError, TypeError for what is none."""
        data: dict[str, Any] = json.loads(text)
        return cls(
            pid=int(data["pid"]),
            gateways=tuple(map(str, data["gateways"])),
            redis=str(data["redis"]),
            state=UpState(data["state"]),
            began_at=float(data["began_at"]),
            processes=tuple(RunningProcess(**one) for one in data["processes"]),
            refused=tuple(map(str, data["refused"])),
        )


@dataclass(frozen=True, slots=True)
class StateDir:
    """The directory; nothing is written before it is needed."""

    path: Path

    @classmethod
    def find(cls, given: Path | None, environment: Mapping[str, str]) -> "StateDir":
        """`--state-dir`, else `$GENLOCK_STATE_DIR`, else `$XDG_STATE_HOME/genlock`, else `~/.local/state/genlock`."""
        if given is not None:
            return cls(given)
        if named := environment.get(STATE_DIR_VARIABLE):
            return cls(Path(named))
        return cls.default(environment)

    @classmethod
    def default(cls, environment: Mapping[str, str]) -> "StateDir":
        """The one that is used where nobody names another. Raises BadInput for a user without a home."""
        if base := environment.get("XDG_STATE_HOME"):
            return cls(Path(base) / "genlock")
        try:
            return cls(Path.home() / ".local" / "state" / "genlock")
        except RuntimeError:
            raise BadInput(f"this user has no home folder; name one with --state-dir or {STATE_DIR_VARIABLE}") from None

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

    @property
    def redis_log(self) -> Path:
        return self.path / "redis" / "redis.log"

    def keyring(self) -> Keyring:
        """The installation's secrets, made at the first use. Raises InvalidSecrets, NotWritable."""
        if not self._has_secrets():
            self._make()
            # O_EXCL: of two commands that start at once, one writes and the other reads.
            try:
                handle = os.open(self.secrets_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return Keyring.from_file(self.secrets_file)
            except OSError as error:
                raise NotWritable(self.path, error) from None
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(generate_secrets() + "\n")
        return Keyring.from_file(self.secrets_file)

    def known_keyring(self) -> Keyring | None:
        """The installation's secrets, None if nobody has made any. Raises InvalidSecrets."""
        return self.keyring() if self._has_secrets() else None

    def lock(self) -> IO[str]:
        """Hold the directory for as long as the returned file is open. Raises AlreadyUp, NotWritable."""
        self._make()
        try:
            file = (self.path / "lock").open("w")
        except OSError as error:
            raise NotWritable(self.path, error) from None
        for _ in range(_LOCK_ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # What a killed one has left behind tells of processes that are gone.
                self.forget()
                return file
            time.sleep(_LOCK_RETRY_S)
        file.close()
        raise AlreadyUp(self.path)

    def is_held(self) -> bool:
        """Whether a `genlock up` runs with it."""
        try:
            with (self.path / "lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def announce(self, running: Running) -> None:
        """Tell the other commands; they never read half of it. Raises NotWritable."""
        self._make()
        unfinished = self.path / ".up.json.part"
        try:
            unfinished.write_text(json.dumps(asdict(running)), encoding="utf-8")
            unfinished.replace(self.path / "up.json")
        except OSError as error:
            raise NotWritable(self.path, error) from None

    def forget(self) -> None:
        for file in (self.path / "up.json", self.links_file):
            file.unlink(missing_ok=True)

    def running(self) -> Running | None:
        """The `genlock up` that runs with this directory, None if there is none or its announcement cannot be read."""
        if not self.is_held():
            return None
        try:
            return Running.from_json((self.path / "up.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def log_files(self) -> Iterator[tuple[str, Path]]:
        """The name and the log of each process that this directory knows of, of the run under way or the last one."""
        if self.logs.is_dir():
            for path in sorted(self.logs.glob("*.log")):
                yield path.stem, path
        if self.redis_log.is_file():
            yield "redis", self.redis_log

    def _has_secrets(self) -> bool:
        try:
            return self.secrets_file.exists()
        except OSError:  # a folder that this user may not look into
            return False

    def _make(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise NotWritable(self.path, error) from None
