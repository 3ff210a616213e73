"""What can be wrong with a model before it runs: its name, its files, the machine."""

from collections.abc import Sequence
from pathlib import Path

from genlock_core.errors import BadInput, GenlockError


class UnknownModel(BadInput):
    """No model of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        super().__init__(f"no model {name!r}; the models are: {', '.join(known)}")


class MissingWeights(GenlockError):
    """Parts of a model have no files; carries every one of them."""

    def __init__(self, model: str, problems: Sequence[str]) -> None:
        self.model = model
        self.problems = tuple(problems)
        get = f"`genlock models fetch {model} --into <weights folder>` gets them; see docs/models.md"
        if len(problems) == 1:
            super().__init__(f"model {model}: {problems[0]}; {get}")
        else:
            lines = [f"model {model}: {len(problems)} parts missing; {get}", *problems]
            super().__init__("\n  ".join(lines))


class WrongCheckpoint(GenlockError):
    """A file that is not the checkpoint it should be: damaged, of another model, with code in it."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class DeviceMissing(GenlockError):
    """The machine has no such device."""
