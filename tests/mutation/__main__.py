"""Mutation runs: `make mutation` changes the decisions of Genlock one at a time, and says which change no test notices.

mutmut makes the mutants and runs the tests that reach them. It takes a mutant's module from its file's path, and our
five packages lie in five folders: so it works in a copy, `build/mutation`, in which they lie side by side. Of all the
mutants a sample is tried, always the same one, which is drawn evenly from each module.

Every survivor needs a line in `survivors.md` that says why no test can, or need, tell it from the original. The run
ends with status 1 where one has none. `--only PATTERN ...` tries all the mutants whose names match: with the names of
survivors, whether new tests kill them.
"""

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKPLACE = ROOT / "build" / "mutation"
SURVIVORS = Path(__file__).with_name("survivors.md")
PACKAGES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
    "wheel"
]["packages"]

SEED = 10
SAMPLE = 340
"""So many mutants are tried in half an hour on two cores."""
TIME_S = 26 * 60.0
"""After so long the run ends with what it has; the rest is told as not tried."""

MUTATED = (
    "genlock_core/subscriptions/*.py",
    "genlock_gateway/sessions/*.py",
    "genlock_operator/plan/*.py",
    "genlock_worker/engines/readiness.py",
    "genlock_worker/ownership/*.py",
    "genlock_worker/rows/*.py",
    "genlock_worker/session/*.py",
)
TESTS = (
    "tests/core/link/test_subscriptions.py",
    "tests/core/subscriptions",
    "tests/gateway/sessions",
    "tests/gateway/test_live.py",
    "tests/gateway/test_redis_away.py",
    "tests/gateway/test_sessions_api.py",
    "tests/gateway/test_signalling.py",
    "tests/operator/plan",
    "tests/worker/engines/test_readiness.py",
    "tests/worker/ownership",
    "tests/worker/rows",
    "tests/worker/session",
    "tests/worker/test_fresh_start.py",
    "tests/worker/test_preview.py",
    "tests/worker/test_worker.py",
)
# What a log says is for people, and an error's words are tested where somebody acts on them.
NOT_MUTATED = (r"logger\.\w+", r"self\._log\.\w+", r"raise \w+", r"super\(\)\.__init__")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="PATTERN", nargs="+", help="try all mutants whose names match, instead of the sample"
    )
    parser.add_argument("--sample", type=int, default=SAMPLE, help="how many to try (default %(default)s)")
    parser.add_argument(
        "--time", type=float, default=TIME_S, metavar="S", help="end after so long (default %(default)g)"
    )
    chosen = parser.parse_args()

    lay_out()
    os.chdir(WORKPLACE)
    names = mutants()
    tried = (
        [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in chosen.only)]
        if chosen.only
        else sample(names, chosen.sample)
    )
    print(f"mutation: {len(tried)} of {len(names)} mutants, in {WORKPLACE.relative_to(ROOT)}")
    run(tried, chosen.time)
    return tell(tried)


def lay_out() -> None:
    """Make the workplace: the packages side by side, the tests, and settings that speak of these alone."""
    shutil.rmtree(WORKPLACE, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, WORKPLACE / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", WORKPLACE / "tests", ignore=shutil.ignore_patterns("__pycache__", "golden"))

    settings = (ROOT / "pyproject.toml").read_text()
    pytest_settings = settings[settings.index("[tool.pytest.ini_options]") :].split("\n[tool.", 1)[0]
    selection = [*TESTS, "-m", "not process and not browser and not apiserver", "--hypothesis-seed=0"]
    lines = (
        "[tool.mutmut]",
        f"source_paths = {as_toml(Path(package).name for package in PACKAGES)}",
        f"only_mutate = {as_toml(MUTATED)}",
        f"do_not_mutate_patterns = {as_toml(NOT_MUTATED)}",
        f"pytest_add_cli_args_test_selection = {as_toml(selection)}",
        'pytest_add_cli_args = ["-p", "no:cacheprovider"]',
        "use_git_change_detection = false",
        "",
    )
    (WORKPLACE / "pyproject.toml").write_text("\n".join(lines) + "\n" + pytest_settings)


def as_toml(values: Iterable[str]) -> str:
    """A list of strings; JSON writes it as TOML does."""
    return json.dumps(list(values))


def mutants() -> list[str]:
    """The names of all mutants that there are, in order; the same for the same sources."""
    # mutmut reads its settings from the folder in which it is imported.
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import get_mutant_name

    return sorted(
        get_mutant_name(path, mutant)
        for path in walk_mutatable_files()
        for mutant in mutate_file_contents(str(path), path.read_text()).mutant_names
    )


def sample(names: list[str], count: int) -> list[str]:
    """The same share of each module, at least one of each.

    The draw goes by the names' hashes: a change of one function leaves the sample of all others as it was.
    """
    by_module: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_module[module_of(name)].append(name)
    share = min(1.0, count / len(names))
    return [
        one
        for these in by_module.values()
        for one in sorted(sorted(these, key=lot)[: max(1, round(share * len(these)))])
    ]


def lot(name: str) -> str:
    """What a mutant draws: the lowest are tried."""
    return hashlib.sha256(f"{SEED} {name}".encode()).hexdigest()


def module_of(mutant: str) -> str:
    return mutant.rpartition(".")[0]


def run(names: list[str], time_s: float) -> None:
    """mutmut tries these, for so long at most; it keeps what it knows when it is interrupted."""
    command = [str(Path(sys.executable).with_name("mutmut")), "run", *names]
    began = time.monotonic()
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            process.wait(time_s)
        except subprocess.TimeoutExpired:
            print(f"\nmutation: ended after {time_s / 60:g} minutes")
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
    print(f"mutation: {time.monotonic() - began:.0f} s")


def tell(tried: list[str]) -> int:
    """A line for each module, and each survivor with its difference; 1 if one of them has no reason."""
    said = subprocess.run(
        [str(Path(sys.executable).with_name("mutmut")), "results", "--all", "true"],
        capture_output=True,
        text=True,
        check=True,
    )
    outcome = dict(re.findall(r"^\s+(\S+): (.+)$", said.stdout, re.MULTILINE))
    reasons = SURVIVORS.read_text()
    modules: dict[str, Counter[str]] = defaultdict(Counter)
    for name in tried:
        modules[module_of(name)][outcome.get(name, "not checked")] += 1

    print(f"{'module':62} tried killed survived untested  share")
    for module, counts in [*sorted(modules.items()), ("all", sum(modules.values(), Counter()))]:
        killed = counts["killed"] + counts["timeout"] + counts["segfault"] + counts["suspicious"]
        checked = killed + counts["survived"] + counts["no tests"]
        print(
            f"{module:62} {checked:5} {killed:6} {counts['survived']:8} {counts['no tests']:8} "
            f"{killed / checked if checked else 1:6.0%}"
        )
    print(f"not tried: {sum(counts['not checked'] for counts in modules.values())}")

    unexplained = 0
    for name in tried:
        if outcome.get(name) in ("survived", "no tests"):
            explained = f"`{name}`" in reasons
            unexplained += not explained
            print(f"\n{outcome[name]}{'' if explained else ', without a reason'}: {name}")
            mutmut = [str(Path(sys.executable).with_name("mutmut")), "show", name]
            print(subprocess.run(mutmut, capture_output=True, text=True).stdout)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
