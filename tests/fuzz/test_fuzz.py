"""No input makes a reader fail in another way than it says; what once did is tried each time.

`GENLOCK_FUZZ` says how many inputs for each reader; `make fuzz` takes a million. An input that fails is named by its
number; written into `corpus/TARGET`, it is a test for ever.
"""

import os
import time
from pathlib import Path

import pytest

from tests.fuzz.mutations import MAX_BYTES, mutated
from tests.fuzz.targets import TARGETS, Target

COUNT = int(os.environ.get("GENLOCK_FUZZ", "300"))
CORPUS = Path(__file__).parent / "corpus"
KEPT = sorted(path for path in CORPUS.rglob("*") if path.is_file())


def attempt(target: Target, data: bytes, what: str) -> bool:
    """Whether it was read; an error that the reader documents is none."""
    try:
        target.read(data)
    except target.may_raise:
        return False
    except Exception as error:
        error.add_note(f"{what}: {data[:400]!r}")
        raise
    return True


@pytest.mark.timeout(max(60, COUNT))
@pytest.mark.parametrize("name", TARGETS)
def test_inputs_near_good_ones_are_read_or_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    target, count = TARGETS[name], max(1, round(COUNT * TARGETS[name].share))
    good = [*target.good(), *(path.read_bytes() for path in KEPT if path.parent.name == name)]
    read = 0
    slowest_s, slowest = 0.0, 0
    for number in range(count):
        data = mutated(good, f"{name} {number}")
        began_s = time.perf_counter()
        read += attempt(target, data, f"{name}, input {number}")
        if (took_s := time.perf_counter() - began_s) > slowest_s:
            slowest_s, slowest = took_s, number
    with capsys.disabled():
        if COUNT > 10_000:
            print(f"\n{name}: {count} inputs, {read} read, slowest {slowest_s * 1e3:.1f} ms (input {slowest})")  # noqa: T201


@pytest.mark.parametrize("name", TARGETS)
def test_a_good_input_is_read(name: str) -> None:
    for data in TARGETS[name].good():
        assert len(data) <= MAX_BYTES
        attempt(TARGETS[name], data, name)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_failed_is_read_or_refused(path: Path) -> None:
    attempt(TARGETS[path.parent.name], path.read_bytes(), path.name)


def test_a_reader_that_fails_is_noticed() -> None:
    def fragile(data: bytes) -> None:
        data[7]

    target = Target(fragile, lambda: [b"12345678"], (ValueError,))
    shorter = next(data for number in range(100) if len(data := mutated(target.good(), f"{number}")) < 8)
    with pytest.raises(IndexError) as failed:
        attempt(target, shorter, "input 5")
    assert "input 5" in failed.value.__notes__[0]
