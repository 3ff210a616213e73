from pathlib import Path

import pytest

from genlock_core.errors import GenlockError, InvalidManifest
from genlock_core.sizing.profile import (
    ProfileRow,
    load_profiles,
    own_rows,
    parse_profiles,
    profiles_with,
)
from genlock_core.spec.session import Resolution

ROWS = load_profiles()
PUBLISHED = [row for row in ROWS if row.model != "tiny"]
WIDE, SQUARE = Resolution(width=832, height=480), Resolution(width=512, height=512)
DOCUMENT = """
apiVersion: genlock.dev/v1alpha1
kind: ModelProfile
metadata: {name: tiny}
spec:
  rows:
    - {gpuProduct: L4, gpus: 1, resolution: 832x480, steps: 2, fpsPerSession: 8.5, source: mine}
    - gpuProduct: L4
      gpus: 1
      resolution: {width: 512, height: 512}
      steps: 2
      sessions: 2
      fpsPerSession: 6
      chunkLatencyMs: {p50: 200, p95: 250, p99: 300}
      bytesPerSession: 1000
      source: mine
"""


def one(model: str, product: str, gpus: int, resolution: Resolution, steps: int) -> ProfileRow:
    (row,) = [
        row
        for row in ROWS
        if (row.model, row.gpu_product, row.gpus, row.resolution, row.steps)
        == (model, product, gpus, resolution, steps)
    ]
    return row


def test_every_published_point_is_there_once() -> None:
    shapes = {(row.model, row.gpu_product, row.gpus, row.resolution, row.steps) for row in PUBLISHED}
    assert len(PUBLISHED) == len(shapes) == 3 * 4 * 2 * 4
    assert {row.sessions for row in PUBLISHED} == {1}
    assert all("2511.07399" in row.source for row in PUBLISHED)


@pytest.mark.parametrize(
    ("row", "fps"),
    [
        (("wan2.1-1.3b", "NVIDIA-H100", 1, WIDE, 1), 20.47),
        (("wan2.1-1.3b", "NVIDIA-H100", 2, WIDE, 3), 30.69),
        (("wan2.1-1.3b", "NVIDIA-H100", 4, WIDE, 4), 42.26),
        (("wan2.1-1.3b", "NVIDIA-H100", 4, SQUARE, 1), 64.52),
        (("wan2.1-1.3b", "NVIDIA-GeForce-RTX-4090", 2, SQUARE, 4), 17.98),
        (("wan2.1-1.3b", "NVIDIA-GeForce-RTX-4090", 4, WIDE, 4), 15.73),
        (("wan2.1-14b", "NVIDIA-H100", 1, WIDE, 1), 12.68),
        (("wan2.1-14b", "NVIDIA-H100", 4, SQUARE, 1), 58.28),
        (("wan2.1-14b", "NVIDIA-H100", 4, WIDE, 4), 20.05),
    ],
)
def test_published_figures_stand_as_they_were_published(row: tuple[str, str, int, Resolution, int], fps: float) -> None:
    assert one(*row).fps_per_session == fps


def test_what_was_not_published_is_unprofiled_and_what_is_doubtful_says_so() -> None:
    assert [row.first_frame_ms for row in PUBLISHED if row.first_frame_ms is not None] == [470]
    assert one("wan2.1-1.3b", "NVIDIA-H100", 1, WIDE, 2).first_frame_ms == 470
    assert [str(row) for row in PUBLISHED if row.doubtful] == [
        "wan2.1-1.3b 832x480 4 steps on 2x NVIDIA-GeForce-RTX-4090"
    ]
    for row in PUBLISHED:
        assert row.chunk_latency_ms is None
        assert row.bytes_per_session is None
        assert row.bytes_resident is None


def test_a_profile_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(DOCUMENT)
    first, second = load_profiles([path])
    assert (first.model, str(first.resolution), first.fps_per_session) == ("tiny", "832x480", 8.5)
    assert (second.sessions, second.bytes_per_session, second.bytes_resident) == (2, 1_000, None)


def test_every_mistake_of_a_profile_is_reported() -> None:
    text = (
        DOCUMENT.replace("832x480", "832*480")
        .replace("steps: 2\n", "steps: 7\n")
        .replace("source: mine}", "soucre: x}")
    )
    with pytest.raises(InvalidManifest) as caught:
        parse_profiles(text, origin="tiny.yaml")
    assert {problem.path: problem.message for problem in caught.value.problems} == {
        "spec.rows[0].resolution": 'must be a size such as 832x480, not "832*480"',
        "spec.rows[0].source": "is missing",
        "spec.rows[0].soucre": "there is no such field; did you mean source?",
        "spec.rows[1].steps": "must be at most 4, not 7",
    }


def test_rows_of_ones_own_machine_count_beside_the_seeds_and_instead_of_the_same(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "apiVersion: genlock.dev/v1alpha1\nkind: ModelProfile\nmetadata: {name: tiny}\nspec:\n  rows:\n"
        "    - {resolution: 128x128, steps: 2, gpuProduct: CPU, gpus: 1, fpsPerSession: 99, source: mine}\n"
        "    - {resolution: 128x128, steps: 2, gpuProduct: NVIDIA-L4, gpus: 1, fpsPerSession: 999, source: mine}\n"
    )
    rows, seeds = profiles_with([own]), load_profiles()
    assert len(rows) == len(seeds) + 1
    assert {row.fps_per_session for row in rows if row.source == "mine"} == {99, 999}
    with pytest.raises(GenlockError, match="cannot read the profile"):
        profiles_with([tmp_path / "nothing.yaml"])


def test_of_two_files_with_the_same_measurement_the_last_ones_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(DOCUMENT)
    second.write_text(DOCUMENT.replace("8.5", "9.5"))
    assert [row.fps_per_session for row in own_rows([first, second])] == [9.5, 6]
    assert own_rows([]) == ()


def test_figures_for_the_mock_take_no_measured_rows_place_and_others_do(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    text = (
        "apiVersion: genlock.dev/v1alpha1\nkind: ModelProfile\nmetadata: {name: tiny}\nspec:\n  rows:\n"
        "    - {resolution: 128x128, steps: 2, gpuProduct: CPU, gpus: 1, ENGINE fpsPerSession: 99, source: mine}\n"
    )
    for engine, more in {"engine: mock,": 1, "engine: diffusion,": 0, "": 0}.items():
        own.write_text(text.replace("ENGINE", engine))
        assert len(profiles_with([own])) == len(load_profiles()) + more


def test_a_row_names_an_engine_or_the_reference() -> None:
    named = DOCUMENT.replace("gpus: 1, resolution", "gpus: 1, engine: reference, resolution")
    (profile,) = parse_profiles(named, origin="tiny.yaml")
    assert [row.engine for row in profile.spec.rows] == ["reference", None]
    with pytest.raises(InvalidManifest) as caught:
        parse_profiles(named.replace("reference", "warp"), origin="tiny.yaml")
    assert [problem.path for problem in caught.value.problems] == ["spec.rows[0].engine"]


def measured(ms: object, **fields: object) -> str:
    more = "".join(f", {name}: {value}" for name, value in fields.items())
    row = f"gpuProduct: L4, resolution: 832x480, steps: 2, fpsPerSession: 8, microStepMs: {ms}, source: mine{more}"
    head = "apiVersion: genlock.dev/v1alpha1\nkind: ModelProfile\nmetadata: {name: tiny}\n"
    return f"{head}spec:\n  rows:\n    - {{{row}}}\n"


def test_a_row_may_say_what_its_forward_takes_alone() -> None:
    (profile,) = parse_profiles(measured(400, gpus=1, sessions=3), origin="p.yaml")
    (row,) = profile.spec.rows
    assert (row.micro_step_ms, row.forward_rows) == (400, 6)


@pytest.mark.parametrize(
    ("ms", "gpus", "message"),
    [
        (551, 1, "microStepMs cannot be more than a chunk of 4 frames takes: 500 ms"),
        (1101, 2, "microStepMs cannot be more than a chunk of 4 frames takes: 500 ms"),
        (0, 1, "microStepMs must be more than 0"),
        (-3, 1, "microStepMs must be more than 0"),
        ("fast", 1, "microStepMs must be a number"),
    ],
)
def test_a_forward_that_takes_what_none_can_take_is_a_mistake(ms: object, gpus: int, message: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        parse_profiles(measured(ms, gpus=gpus), origin="p.yaml")
    assert message in str(caught.value).replace(":", "", 1).replace("microStepMs:", "microStepMs") or all(
        word in str(caught.value) for word in ("microStepMs", message.partition(" ")[2])
    )


def test_clocks_of_host_and_device_may_differ_a_little_and_several_gpus_count_each() -> None:
    parse_profiles(measured(549, gpus=1), origin="p.yaml")
    parse_profiles(measured(1099, gpus=2), origin="p.yaml")
