"""`make bench`: every benchmark in a process of its own; tables and plots take their place in docs/benchmarks.md."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.page import IMAGES, PAGE, head, section, with_section
from bench.result import load

BENCHMARKS = (
    "claims",
    "allocate",
    "link",
    "ingest",
    "decode",
    "encode",
    "engine_mock",
    "engine",
    "engine_overlap",
    "derived",
    "engine_rows",
    "host",
    "first_frame",
    "level_change",
    "slow_worker",
    "preview",
    "strangers",
    "recovery",
)
ONLY_IF_NAMED = ("operator", "replay", "slo")
"""They need what a machine may lack, a kube-apiserver (`make envtest`) or traces (GENLOCK_TRACES), or take long and say
the same on every machine (`slo` simulates)."""
TIMEOUT_S = 3_600


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    there_are = ", ".join((*BENCHMARKS, *ONLY_IF_NAMED))
    parser.add_argument("names", nargs="*", help=f"which ones: {there_are} (left out: {', '.join(BENCHMARKS)})")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = sorted(set(names) - {*BENCHMARKS, *ONLY_IF_NAMED})
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {there_are}")
    text = PAGE.read_text() if PAGE.exists() else head()
    for number, name in enumerate(names, start=1):
        text = with_section(text, name, run(name, number, len(names)))
    PAGE.write_text(text)
    print(f"written: {PAGE} and the plots in {IMAGES}", file=sys.stderr)


def run(name: str, number: int, count: int) -> str:
    """Run one benchmark; its section of the page. A benchmark that fails ends the run."""
    print(f"bench {number}/{count}: {name}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        subprocess.run([sys.executable, "-m", f"bench.{name}", "--json", str(output)], check=True, timeout=TIMEOUT_S)
        tables, plots = load(output)
    return section(name, tables, plots)


if __name__ == "__main__":
    main()
