"""What a worker's hardware is called where nobody says it."""

import pytest

from genlock_cli.up.hardware import PRETENDED, EngineName, Hardware, hardware, product_of
from genlock_core.sizing.profile import load_profiles
from genlock_worker.engines import ENGINES

ROWS = load_profiles()
H100, RTX = "NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090"


def test_the_command_knows_every_engine() -> None:
    assert tuple(EngineName) == ENGINES


@pytest.mark.parametrize(
    ("engine", "device", "names", "found"),
    [
        (EngineName.MOCK, "auto", (), PRETENDED),
        (EngineName.MOCK, "auto", (RTX,), PRETENDED),
        (EngineName.DIFFUSION, "auto", (), Hardware("CPU", 1)),
        (EngineName.DIFFUSION, "cpu", (H100,), Hardware("CPU", 1)),
        (EngineName.DIFFUSION, "auto", (RTX, H100), Hardware("NVIDIA-GeForce-RTX-4090", 1)),
        (EngineName.DIFFUSION, "cuda:1", (RTX, H100), Hardware("NVIDIA-H100", 1)),
    ],
)
def test_sessions_are_sized_for_what_the_engine_runs_on(
    engine: EngineName, device: str, names: tuple[str, ...], found: Hardware
) -> None:
    assert hardware(engine, device, model="wan2.1-1.3b", rows=ROWS, names=names) == found


def test_a_gpu_that_the_model_was_never_measured_on_is_called_as_kubernetes_labels_it() -> None:
    assert product_of("NVIDIA L4", model="wan2.1-1.3b", rows=ROWS) == "NVIDIA-L4"
    assert product_of("NVIDIA H1000", model="wan2.1-1.3b", rows=ROWS) == "NVIDIA-H1000"
