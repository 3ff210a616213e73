from dataclasses import replace
from pathlib import Path

import jsonschema
import yaml
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.crds import crd
from genlock_core.sizing.profile import ProfileRow, load_profiles, profiles_with
from genlock_core.spec.engines import Coders
from genlock_worker.profiling.measure import Measurement
from genlock_worker.profiling.plan import Combination
from genlock_worker.profiling.rows import document, merged, percentile, row_of

MEASURED = Measurement(
    Combination(832, 480, 2, 4),
    fps_per_session=17.96543,
    micro_step_ms=180.04321,
    latencies_ms=tuple(float(number) for number in range(1, 101)),
    first_frame_ms=470.4242,
    bytes_per_session=3_450_000_000,
    bytes_resident=9_000_000_000,
)


def row(
    measurement: Measurement = MEASURED, *, gpu: str = "NVIDIA-H100-80GB-HBM3", coders: Coders | None = None
) -> ProfileRow:
    return row_of(
        measurement,
        engine="diffusion",
        coders=coders or Coders(),
        model="wan2.1-1.3b",
        gpu_product=gpu,
        gpus=1,
        source='a "test": on, a machine',
    )


def written(tmp_path: Path, *rows: ProfileRow) -> Path:
    path = tmp_path / "profile.yaml"
    path.write_text(document("wan2.1-1.3b", rows, description="Causal Wan: measured, here"))
    return path


def test_a_profile_is_read_back_as_it_was_measured(tmp_path: Path) -> None:
    others = [row(gpu="CPU"), row(replace(MEASURED, bytes_per_session=None, bytes_resident=None))]
    assert load_profiles([written(tmp_path, row(), *others)]) == (row(), *others)


def test_a_row_names_what_pictures_were_coded_with_and_another_way_takes_no_rows_place(tmp_path: Path) -> None:
    plain, tiny = row(), row(coders=Coders("tiny", "tiny"))
    assert (tiny.encoder, tiny.decoder) == ("tiny", "tiny")
    assert merged([plain], [tiny]) == (plain, tiny)
    assert profiles_with([written(tmp_path, plain, tiny)])[-2:] == (plain, tiny)
    before = plain.model_copy(update={"encoder": None, "decoder": None})
    assert merged([before], [plain]) == (plain,), "a row from before was measured with the VAE"


def test_a_row_has_no_more_digits_than_were_measured() -> None:
    one = row()
    assert (one.fps_per_session, one.first_frame_ms, one.sessions, one.gpus) == (18.0, 470.0, 4, 1)
    assert one.chunk_latency_ms is not None
    assert (one.chunk_latency_ms.p50, one.chunk_latency_ms.p95, one.chunk_latency_ms.p99) == (50, 95, 99)


def test_kubernetes_takes_the_document(tmp_path: Path) -> None:
    value = yaml.safe_load(written(tmp_path, row(), row(gpu="CPU")).read_text())
    jsonschema.Draft4Validator(crd.schema(crd.PROFILE)).validate(value)
    assert value["metadata"]["name"] == "wan2.1-1.3b"
    assert "model" not in value["spec"]["rows"][0]


def test_a_row_that_was_measured_again_takes_the_place_of_the_old_one() -> None:
    old, other, again = row(), row(gpu="CPU"), row(replace(MEASURED, fps_per_session=20.0))
    assert merged([old, other], [again]) == (other, again)


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9
