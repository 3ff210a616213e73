from genlock_cli.profile import load
from genlock_core.clock import SystemClock
from genlock_core.spec.session import Resolution
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.profiling.measure import Effort, measure
from genlock_worker.profiling.plan import Combination
from genlock_worker.profiling.quality import measure_quality

OPTIONS = ("--device=cpu", "--cuda-graphs=yes", "--threads=1")


def test_the_engine_itself_is_measured_and_its_ledger_says_the_bytes() -> None:
    subject = load("tiny", OPTIONS, gpu_product=None, note="a test")
    combination = Combination(64, 64, steps=2, sessions=2)
    effort = Effort(seconds=0.0, chunks=2, warm=1)
    found = measure(subject.engine, combination, clock=SystemClock(), memory=subject.memory, effort=effort)
    assert isinstance(subject.engine, DiffusionEngine)
    assert found.bytes_resident == subject.engine.resident_bytes
    assert found.bytes_per_session is not None
    assert found.bytes_per_session > 0
    assert len(found.latencies_ms) == effort.chunks
    assert subject.engine.budget.taken == {}
    assert subject.gpu_product == "CPU"
    for words in ("float32", "random weights", "16 fps input", "a test"):
        assert words in subject.source
    assert "cuda-graphs" not in subject.source


def test_each_step_count_of_the_engine_itself_is_compared_with_the_most() -> None:
    engine = load("tiny", OPTIONS, gpu_product=None, note="").engine
    size = Resolution(width=64, height=64)
    found = list(measure_quality(engine, size, [1], begins=lambda _: None, chunks=2))
    assert isinstance(engine, DiffusionEngine)
    assert [one.steps for one in found] == [4, 1]
    assert found[0].ssim > 0.999  # a stream is the same each time
    assert 0 <= found[1].quality < 0.999
    assert engine.budget.taken == {}
