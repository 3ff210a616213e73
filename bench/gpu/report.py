"""What is kept of a run: written anew after every line, so that a run that is cut off keeps what it had.

- `results.json`: the receipt, and the lines of each stage in their order
- `profiles/<way>.yaml`: a ModelProfile for each way to run the engine, which `kubectl apply` takes
- what a stage attaches (a table of kernels, a trace)
"""

import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.gpu.receipt import Receipt
from bench.gpu.timing import TimeIsOver
from genlock_core.clock import Clock
from genlock_core.errors import GenlockError
from genlock_core.sizing.profile import ProfileRow
from genlock_worker.profiling import rows as profile_rows

Figure = str | int | float | bool
TRACE_CHARS = 1500


@dataclass(slots=True, eq=False)
class Report:
    """A run's results so far, and the folder where they lie."""

    folder: Path
    receipt: Receipt
    clock: Clock
    began_s: float = field(init=False)
    stages: dict[str, list[dict[str, Figure]]] = field(default_factory=dict)
    rows: dict[str, list[ProfileRow]] = field(default_factory=dict)
    """By the way in which the engine was run."""
    failures: list[str] = field(default_factory=list)
    """What did not run, though it should have."""

    def __post_init__(self) -> None:
        self.began_s = self.clock.monotonic()
        self._write()

    def line(self, stage: str, what: str, figures: Mapping[str, Figure]) -> None:
        """Note and print some figures."""
        self.stages.setdefault(stage, []).append({"what": what, **figures})
        self._write()
        shown = "  ".join(f"{name}={_shown(value)}" for name, value in figures.items())
        print(f"[{self.clock.monotonic() - self.began_s:6.1f} s] {stage}: {what}  {shown}", flush=True)

    def profile_row(self, way: str, row: ProfileRow) -> None:
        """Note what was measured of the engine when it was run in this way."""
        rows = self.rows.setdefault(way, [])
        rows.append(row)
        text = profile_rows.document(row.model, rows, description=f"{row.model}, {way}, measured with make gpu")
        self.attach(f"profiles/{way.replace(', ', '-').replace(' ', '-')}.yaml", text)

    def attach(self, name: str, text: str) -> Path:
        """Write a file beside the results."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text)
        return path

    @contextmanager
    def attempt(self, stage: str, what: str) -> Iterator[None]:
        """What goes wrong inside ends this attempt and not the run; what this machine lacks is no failure."""
        try:
            yield
        except TimeIsOver:
            raise
        except GenlockError as lack:
            self.line(stage, what, {"lacks": str(lack)})
        except Exception:  # noqa: BLE001  # whatever libraries, drivers and cards raise
            self.failures.append(f"{stage}: {what}")
            self.line(stage, what, {"failed": traceback.format_exc()[-TRACE_CHARS:]})

    def _write(self) -> None:
        results = {"receipt": self.receipt.as_json(), "failures": self.failures, "stages": self.stages}
        self.attach("results.json", json.dumps(results, indent=1))


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole, so that there is never half of one."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _shown(value: Figure) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
