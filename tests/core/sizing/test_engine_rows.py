"""Which measurements speak of which engine."""

from typing import Any

import pytest

from genlock_core.sizing.engine_rows import NEAREST_FIRST, counts_for, rows_for
from genlock_core.sizing.profile import MeasuredWith, ProfileRow, load_profiles
from genlock_core.spec.engines import MOST_GPUS, Coders, EngineKind, coders_of
from genlock_core.spec.session import Resolution

WIDE, SQUARE = Resolution(width=832, height=480), Resolution(width=512, height=512)


def row(engine: MeasuredWith | None, *, gpus: int = 1, steps: int = 2, **changes: Any) -> ProfileRow:
    plain: dict[str, Any] = {"model": "m", "resolution": WIDE, "gpu_product": "H100", "source": "a test"}
    return ProfileRow(**{**plain, "engine": engine, "gpus": gpus, "steps": steps, "fps_per_session": 20, **changes})


def found(rows: list[ProfileRow], engine: EngineKind | None, gpus: int = 1) -> list[ProfileRow]:
    return rows_for(rows, engine=engine, model="m", gpu_product="H100", gpus=gpus)


@pytest.mark.parametrize(
    ("measured", "one_gpu", "four_gpus"),
    [
        ("mock", {"mock"}, {"mock"}),
        ("diffusion", {"mock", "diffusion"}, {"mock", "diffusion"}),
        ("reference", {"mock", "diffusion"}, {"mock"}),
        (None, {"mock", "diffusion"}, {"mock"}),
    ],
)
def test_what_was_measured_otherwise_on_several_gpus_is_for_the_mock_alone(
    measured: MeasuredWith | None, one_gpu: set[str], four_gpus: set[str]
) -> None:
    assert {engine for engine in MOST_GPUS if counts_for(row(measured), engine)} == one_gpu
    assert {engine for engine in MOST_GPUS if counts_for(row(measured, gpus=4), engine)} == four_gpus


def test_a_row_that_names_its_coders_counts_for_workers_with_these_alone() -> None:
    unnamed, vae = row("diffusion"), row("diffusion", encoder="vae", decoder="vae")
    both, half = row("diffusion", encoder="tiny", decoder="tiny"), row("diffusion", decoder="tiny")
    rows = [unnamed, vae, both, half]

    def speaking(coders: Coders) -> list[ProfileRow]:
        return rows_for(rows, engine="diffusion", model="m", gpu_product="H100", gpus=1, coders=coders)

    assert speaking(Coders()) == [unnamed, vae] == found(rows, "diffusion")
    assert speaking(Coders("tiny", "tiny")) == [unnamed, both, half]
    assert speaking(Coders("vae", "tiny")) == [unnamed, half]


def test_a_workers_coders_are_in_its_environment() -> None:
    assert coders_of({}) == Coders("vae", "vae")
    assert coders_of({"GENLOCK_WORKER_DECODER": "tiny", "OTHER": "tiny"}) == Coders("vae", "tiny")
    assert coders_of({"GENLOCK_WORKER_ENCODER": "huge"}) == Coders(), "the worker refuses it itself"


def test_nothing_stands_in_for_an_engine_at_a_size_and_step_count_that_it_was_measured_at() -> None:
    own, reference = row("diffusion"), row("reference")
    other_steps, other_size = row("reference", steps=1), row("reference", resolution=SQUARE)
    rows = [reference, own, other_steps, other_size]
    assert found(rows, "diffusion") == [own, other_steps, other_size]


def test_every_row_of_the_nearest_kind_counts() -> None:
    rows = [row("diffusion", sessions=1), row("diffusion", sessions=2), row(None, sessions=4)]
    assert found(rows, "diffusion") == rows[:2]


def test_the_mock_plays_what_was_measured_here_before_what_was_published() -> None:
    rows = [row("reference"), row(None), row("diffusion"), row("mock")]
    for nearest in ("mock", "diffusion", None, "reference"):
        assert found(rows, "mock") == [row(nearest)]
        rows.remove(row(nearest))


def test_for_a_worker_that_does_not_name_its_engine_every_row_counts_as_it_did_before() -> None:
    rows = [row(engine, gpus=4) for engine in ("mock", "diffusion", "reference", None)]
    assert found(rows, None, gpus=4) == rows


def test_other_models_and_gpus_say_nothing() -> None:
    rows = [row("mock", model="x"), row("mock", gpu_product="L4"), row("mock", gpus=2)]
    assert found(rows, "mock") == []


def test_the_rows_that_come_with_genlock_say_what_they_were_measured_with() -> None:
    packaged = load_profiles()
    assert {(row.model, row.engine) for row in packaged} == {
        ("tiny", "diffusion"),
        ("wan2.1-1.3b", "reference"),
        ("wan2.1-14b", "reference"),
    }
    several = [row for row in packaged if row.gpus > 1]
    assert several
    assert not [row for row in several if counts_for(row, "diffusion")]
    assert all(counts_for(row, "mock") for row in packaged)
    assert set(NEAREST_FIRST) == set(MOST_GPUS)
