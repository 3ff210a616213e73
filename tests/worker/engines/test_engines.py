"""Engines are made by name; what an engine needs is not asked of those who use another one."""

import subprocess
import sys

import pytest

from genlock_core.clock import ManualClock
from genlock_worker.engines import create_engine
from genlock_worker.engines.mock import StepTiming
from genlock_worker.settings import parse_settings

DIFFUSION = parse_settings([], {}).diffusion


def test_engines_are_made_by_name() -> None:
    made = create_engine(
        "mock", model="wan", devices=1, timing=StepTiming.instant, clock=ManualClock(), diffusion=DIFFUSION
    )
    assert (made.model, made.devices, made.depth) == ("wan", 1, 1)
    made.stop()
    with pytest.raises(ValueError, match="no engine called 'warp'; use one of: mock, diffusion"):
        create_engine(
            "warp", model="wan", devices=2, timing=StepTiming.instant, clock=ManualClock(), diffusion=DIFFUSION
        )


def test_the_mock_stands_for_what_it_is_told() -> None:
    made = create_engine(
        "mock",
        model="wan",
        devices=4,
        depth=3,
        timing=StepTiming.instant,
        clock=ManualClock(),
        diffusion=DIFFUSION,
    )
    assert (made.devices, made.depth) == (4, 3)
    made.stop()


@pytest.mark.parametrize("depth", [0, 5])
def test_a_depth_that_the_mock_cannot_have_is_refused(depth: int) -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match=f"1 to 4 batches may be under way, not {depth}"):
        create_engine(
            "mock", model="wan", devices=1, depth=depth, timing=StepTiming.instant, clock=clock, diffusion=DIFFUSION
        )


def test_without_torch_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from genlock_core.clock import SystemClock\n"
        "from genlock_worker.engines import EngineNotInstalled\n"
        "from genlock_worker.settings import parse_settings\n"
        "from genlock_worker.worker import make_engine\n"
        "try:\n"
        "    make_engine(parse_settings(['--engine', 'diffusion', '--model', 'tiny'], {}), SystemClock())\n"
        "except EngineNotInstalled as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs torch, which is not installed" in done.stdout
    assert "pip install 'genlock[diffusion]'" in done.stdout


def test_a_worker_of_the_mock_engine_imports_no_torch() -> None:
    code = (
        "import sys, genlock_worker.main, genlock_cli.main; "
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
