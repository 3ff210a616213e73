"""Streams through an engine whose forwards are replayed: their pictures, its memory, and a card that is lost.

Without a GPU the captured work is done again over the same tensors (`RepeatedCapture`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch

from genlock_core.clock import ManualClock
from genlock_core.spec.session import Resolution
from genlock_worker.engines.contract import BatchResult, CapturedGraphs, Change, Chunk, Row
from genlock_worker.engines.diffusion.components import load_components
from genlock_worker.engines.diffusion.config import MODELS, StreamOptions
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.execution.graphs import GraphForward
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.options import LoadOptions
from genlock_worker.rows.warm_up import WarmUp, WarmUpPlan
from tests.worker.engines.diffusion.repeated_capture import RepeatedCapture
from tests.worker.engines.diffusion.rows import CPU
from tests.worker.engines.diffusion.static_ring_ops import StaticRingOps
from tests.worker.engines.diffusion.streams import (
    BlockVae,
    StreamBatch,
    caches,
    chunk,
    difference,
    engine,
    settings,
)
from tests.worker.engines.driven import Driven

OPTIONS = StreamOptions(sink_threshold=1.1, sink_cooldown_chunks=1, sink_delay_chunks=6)
PLANS = {
    "a": settings("ink", steps=3, seed=1),
    "b": settings("oil winter", steps=1, seed=2),
    "c": settings("neon", steps=2, seed=3, text_only=True),
}
CHANGES = {"a": {3: Change(prompt="oil winter", steps=2)}, "b": {2: Change(steps=4)}}
CHUNKS = 12
SAME = 0.02
"""Levels of 255, mean."""
SIZE = Resolution(width=64, height=64)
LIMIT_BYTES = 256 * 2**20


@dataclass
class Replaying:
    """An engine with graphs, warmed up."""

    engine: DiffusionEngine
    forward: GraphForward
    capture: RepeatedCapture
    lacks: tuple[str, ...]


def replaying(*, full_at: tuple[int, ...] = ()) -> Replaying:
    parts = load_components(
        MODELS["tiny"],
        weights=None,
        device=CPU,
        dtype=torch.float32,
        options=LoadOptions(),
        stream=OPTIONS,
        progress=lambda _: None,
    )
    network = CausalWan(parts.config.transformer, layout=OPTIONS.ring, ops=StaticRingOps())
    network.load_state_dict(parts.transformer.state_dict())
    capture = RepeatedCapture(bytes=1000, full_at=full_at)
    forward = GraphForward(network, capture)
    clock = ManualClock()
    one = DiffusionEngine(
        replace(parts, transformer=network, vae=BlockVae()),
        options=OPTIONS,
        forward=forward,
        memory_limit_bytes=LIMIT_BYTES,
        clock=clock,
        fixed_pools=True,
    )
    warmed_up = WarmUp(one, clock, lambda _: None).run(WarmUpPlan(settings(), (SIZE,)))
    return Replaying(one, forward, capture, warmed_up.lacks)


@pytest.fixture
def graphs() -> Iterator[Replaying]:
    made = replaying()
    yield made
    made.engine.stop()


def played(one: Driven) -> dict[str, StreamBatch]:
    """All sessions, the rows of all that are ready in one forward; sinks are replaced, steps and prompts changed."""
    streams = {name: StreamBatch(one, name) for name in PLANS}
    for name, plan in PLANS.items():
        one.open(name, plan)
    for index in range(CHUNKS):
        for name, stream in streams.items():
            while 0 in stream.chunks_in_flight:
                stream.run(stream.ready()[:1])
            one.apply(name, CHANGES.get(name, {}).get(index, Change()))
            stream.begin(Chunk(index, None) if PLANS[name].text_only else chunk(index))
        rows = [row for stream in streams.values() for row in stream.ready()]
        results = one.run(rows)
        for name, stream in streams.items():
            stream.note({result.row: result.output for result in results if result.row.session == name})
        while any(len(stream.chunks_in_flight) > 4 for stream in streams.values()):
            for stream in streams.values():
                stream.run(stream.ready())
    for stream in streams.values():
        while stream.chunks_in_flight:
            stream.run(stream.ready())
    return streams


def test_replayed_streams_show_what_plain_ones_show(graphs: Replaying) -> None:
    plain = engine(options=OPTIONS, vae=BlockVae())
    expected = played(plain)
    before = graphs.forward.replayed
    shown = played(Driven(graphs.engine))
    assert graphs.forward.replayed - before > CHUNKS
    for name, stream in shown.items():
        assert sorted(stream.outputs) == list(range(CHUNKS))
        for index, output in stream.outputs.items():
            assert difference(output, expected[name].outputs[index]) < SAME, (name, index)
        assert {cache.replaced_in for cache in caches(graphs.engine, name)} != {None}, "sinks were replaced"


def test_the_opening_is_run_as_it_is_and_what_follows_is_replayed(graphs: Replaying) -> None:
    one = Driven(graphs.engine)
    before = graphs.forward.replayed
    one.open("a", settings(steps=1))
    one.show("a", chunk(0))
    assert graphs.forward.replayed == before
    one.show("a", chunk(1))
    assert graphs.forward.replayed == before + 1


def test_two_batches_under_way_give_what_each_alone_gives(graphs: Replaying) -> None:
    plain = engine(options=OPTIONS, vae=BlockVae())
    expected = {}
    for one in (plain, Driven(graphs.engine)):
        for scene, name in enumerate("ab"):
            one.open(name, settings(steps=1, seed=scene))
            one.show(name, chunk(0, scene=scene))
            one.feed(name, chunk(1, scene=scene))
    for name in "ab":
        expected[name] = plain.run([Row(name, 0, 1)])[0].output

    # The second batch has the same graph, and with it the same inputs and the same memory as the first.
    before = graphs.forward.replayed
    for number, name in enumerate("ab"):
        graphs.engine.submit(number, [Row(name, 0, 1)])
    assert graphs.forward.replayed - before == 2
    graphs.capture.overwrite()
    for answer in graphs.engine.collect():
        assert isinstance(answer, BatchResult)
        (result,) = answer.rows
        shown, wanted = result.output, expected[result.row.session]
        assert shown is not None
        assert wanted is not None
        assert difference(shown, wanted) < SAME


def test_a_card_that_is_lost_while_a_graph_is_replayed_loses_the_batch_and_it_is_told(graphs: Replaying) -> None:
    one = Driven(graphs.engine)
    one.open("a", settings(steps=1))
    one.show("a", chunk(0))
    one.feed("a", chunk(1))
    graphs.capture.fault = RuntimeError("CUDA error: device lost")
    graphs.engine.submit(7, [Row("a", 0, 1)])
    (answer,) = graphs.engine.collect()
    assert isinstance(answer, BatchResult)
    assert answer.number == 7
    assert answer.lost == "RuntimeError: CUDA error: device lost"


def test_what_graphs_have_taken_is_resident(graphs: Replaying) -> None:
    assert graphs.engine.resident_bytes - graphs.engine._shared.components.resident_bytes == 7 * 1000
    memory = graphs.engine.memory
    assert memory.resident_bytes == graphs.engine.resident_bytes


def test_a_worker_is_ready_without_the_graphs_that_do_not_fit() -> None:
    made = replaying(full_at=(0, 1, 2))
    try:
        assert made.lacks == tuple(f"a graph of {rows} rows of 64x64 (out of memory)" for rows in (16, 12, 8))
    finally:
        made.engine.stop()


def test_an_engine_without_graphs_captures_none() -> None:
    plain = engine(vae=BlockVae())
    told = list[str]()
    assert plain.engine.capture_graphs([SIZE], told.append) == CapturedGraphs()
    assert told == []
    plain.engine.stop()
