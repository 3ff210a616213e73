"""Which `genlock up` of this user run: so that every command finds them, whatever state directory they were given.

A folder that lasts as long as the machine is up has one small file for each, which names its state directory and no
more: what runs there is said there (`StateDir.running`). The file of one that was killed is taken away by whoever
finds it next.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genlock_cli.state_dir import Running, StateDir


@dataclass(frozen=True, slots=True)
class Up:
    """A running `genlock up`, and where it keeps its state."""

    state: StateDir
    running: Running


@dataclass(frozen=True, slots=True)
class Ups:
    """The folder; it is made when the first `genlock up` enters."""

    folder: Path

    @classmethod
    def of_this_user(cls, environment: Mapping[str, str]) -> "Ups":
        """`$XDG_RUNTIME_DIR`, else where systemd has it, else the folder of temporary files."""
        named = environment.get("XDG_RUNTIME_DIR")
        usual = Path("/run/user") / str(os.getuid())
        if named or usual.is_dir():
            return cls((Path(named) if named else usual) / "genlock")
        return cls(Path(tempfile.gettempdir()) / f"genlock-{os.getuid()}")

    @contextmanager
    def entered(self, state: StateDir) -> Iterator[bool]:
        """Name the directory while it lasts; False where that cannot be done: others must be told by hand then."""
        path = state.path.absolute()
        entry = self.folder / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        is_entered = False
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._is_ours():
                entry.write_bytes(os.fsencode(path))
                is_entered = True
        try:
            yield is_entered
        finally:
            if is_entered:
                with contextlib.suppress(OSError):
                    entry.unlink(missing_ok=True)

    def running(self) -> list[Up]:
        """Those that run now, the oldest first."""
        found = [Up(state, running) for state in self._entered() if (running := state.running()) is not None]
        return sorted(found, key=lambda up: (up.running.began_at, up.state.path))

    def _entered(self) -> Iterator[StateDir]:
        if not self._is_ours():
            return
        for entry in sorted(self.folder.iterdir()):
            with contextlib.suppress(OSError, ValueError):
                state = StateDir(Path(os.fsdecode(entry.read_bytes())))
                if state.is_held():
                    yield state
                else:
                    entry.unlink(missing_ok=True)

    def _is_ours(self) -> bool:
        """Whether nobody else may write here: in the folder of temporary files anybody could have been first."""
        try:
            found = self.folder.lstat()
        except OSError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
