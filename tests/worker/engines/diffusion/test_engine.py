"""The Engine protocol over the tiny model: chunks in and out, changes, faults of one session that spare the others."""

import logging
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from genlock_core.clock import ManualClock
from genlock_core.spec.engines import MOST_GPUS
from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.contract import (
    BatchResult,
    Change,
    Chunk,
    DeviceSeconds,
    EngineFailure,
    Frames,
    Row,
    RowResult,
)
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.network.pages import PoolFull
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.network.vae import VaeStream
from genlock_worker.engines.diffusion.prompt_book import PromptBook
from tests.worker.engines.diffusion.rows import held
from tests.worker.engines.diffusion.streams import (
    HEIGHT,
    WIDTH,
    BlockVae,
    Cramped,
    Poison,
    StreamBatch,
    caches,
    chunk,
    components,
    difference,
    engine,
    play,
    settings,
)
from tests.worker.engines.diffusion.sync_check import no_host_sync
from tests.worker.engines.driven import Driven


def batch(one: Driven, number: int, rows: Sequence[Row]) -> BatchResult:
    """A batch as the engine tells of it, whatever became of its rows."""
    one.engine.submit(number, rows)
    (result,) = one.collect()
    assert isinstance(result, BatchResult)
    assert result.number == number
    return result


def together(one: Driven, rows: Sequence[Row]) -> tuple[RowResult, ...]:
    result = batch(one, 1, rows)
    assert result.lost is None
    return result.rows


def run_each(one: Driven, sessions: str, index: int) -> tuple[RowResult, ...]:
    """Row 0 of a chunk of these sessions, together."""
    return together(one, [Row(session, 0, index) for session in sessions])


def shown(result: RowResult) -> Frames:
    assert result.pictures is not None
    return result.pictures.result(20)


class CrampedFor:
    """A forward that has no memory for rows of these timesteps, in whatever company."""

    def __init__(self, timesteps: set[float]) -> None:
        self.timesteps = timesteps

    def __call__(self, batch: RowBatch) -> Denoised:
        if self.timesteps & set(batch.timesteps.tolist()):
            raise torch.OutOfMemoryError("no room")
        answer: Denoised = components().transformer(batch)
        return answer


class SlowVae(BlockVae):
    """Takes its time by the clock."""

    def __init__(self, clock: ManualClock, *, encode_s: float, decode_s: float) -> None:
        super().__init__()
        self.clock = clock
        self.encode_s = encode_s
        self.decode_s = decode_s
        self.let = threading.Event()
        """Nothing is decoded unless this is set."""
        self.let.set()

    def encode(self, stream: VaeStream, frames: Tensor) -> Tensor:
        self.clock.advance(self.encode_s)
        return super().encode(stream, frames)

    def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
        assert self.let.wait(20)
        self.clock.advance(self.decode_s)
        return super().decode(stream, latents)


def test_chunks_come_out_in_their_size_and_only_from_the_last_row() -> None:
    one = engine()
    one.open("s", settings(steps=2))
    for index, frames in ((0, 5), (1, 4), (2, 4)):
        assert one.feed("s", chunk(index)) == 2
        assert one.run([Row("s", 0, index)])[0].output is None
        output = one.run([Row("s", 1, index)])[0].output
        assert output is not None
        assert output.shape == (frames, HEIGHT, WIDTH, 3)
        assert output.dtype == np.uint8


def test_input_prompt_and_seed_decide_the_picture() -> None:
    one = engine(vae=BlockVae())
    outputs = []
    for number, (prompt, seed, scene) in enumerate([("oil", 7, 0), ("neon", 7, 0), ("oil", 8, 0), ("oil", 7, 3)]):
        one.open(str(number), settings(prompt, seed=seed))
        outputs.append(play(one, str(number), range(3), scene=scene)[-1])
    assert min(difference(outputs[0], other) for other in outputs[1:]) > 0.5


def test_every_row_has_its_timestep_and_the_first_the_controllers() -> None:
    seen: list[float] = []

    def forward(batch: RowBatch) -> Denoised:
        seen.extend(batch.timesteps.tolist())
        answer: Denoised = components().transformer(batch)
        return answer

    one = engine(forward=forward, vae=BlockVae())
    one.open("s", settings(steps=4, noise_scale=0.8))
    play(one, "s", range(2))
    assert seen[:4] == [700, 500, 400, 200]
    assert 600 <= seen[4] < 700
    assert seen[5:] == [500, 400, 200]
    seen.clear()
    one.open("t", settings(steps=2, text_only=True))
    play(one, "t", range(2), text_only=True)
    assert seen == [1000, 750, 0, 1000, 750, 0]


def test_a_micro_step_asks_the_device_for_nothing_but_its_verdict() -> None:
    options = StreamOptions(sink_threshold=1.1, sink_cooldown_chunks=0, sink_delay_chunks=2)
    one = engine(options=options, vae=BlockVae())
    one.open("s", settings(steps=2))
    play(one, "s", range(6))
    one.apply("s", Change(steps=3))
    one.feed("s", chunk(6))
    for step in range(2):
        with no_host_sync(torch.device("cpu")):
            one.run([Row("s", step, 6)])
        assert caches(one, "s")[step].replaced_in == 6


def test_the_first_chunk_runs_on_one_ring_and_every_row_starts_from_it() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=3))
    play(one, "s", range(1))
    first, *others = caches(one, "s")
    assert [stored.name for stored in first.slots] == ["r2.f0", "r2.f1"]
    for other in others:
        assert other.slots == first.slots
        assert torch.equal(held(other.ring).keys, held(first.ring).keys)
        assert not {*other.ring.slots, other.ring.spare} & {*first.ring.slots, first.ring.spare}


def test_no_other_chunk_begins_before_the_first_is_finished() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=2))
    for index in range(2):
        one.feed("s", chunk(index))
    one.run([Row("s", 0, 0)])
    with pytest.raises(EngineFailure, match="may not run yet"):
        one.run([Row("s", 0, 1)])
    one.run([Row("s", 1, 0)])
    one.run([Row("s", 0, 1)])


def test_chunks_end_in_order_even_when_steps_fall() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=4))
    play(one, "s", range(1))
    one.feed("s", chunk(1))
    one.run([Row("s", 0, 1)])
    one.apply("s", Change(steps=1))
    one.feed("s", chunk(2))
    with pytest.raises(EngineFailure, match="may not run yet"):
        one.run([Row("s", 0, 2)])
    for step in (1, 2, 3):
        one.run([Row("s", step, 1)])
    assert one.run([Row("s", 0, 2)])[0].output is not None


def test_more_steps_start_from_the_last_rows_ring() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=2))
    play(one, "s", range(7))
    one.apply("s", Change(steps=4))
    assert one.feed("s", chunk(7)) == 4
    one.run([Row("s", 0, 7)])
    assert caches(one, "s")[2].slots == ()
    before = held(caches(one, "s")[1].ring).keys
    one.run([Row("s", 1, 7)])
    for row in (2, 3):
        assert torch.equal(held(caches(one, "s")[row].ring).keys, before)
        assert [stored.frame for stored in caches(one, "s")[row].slots] == [0, 1, 2, 6, 7, 5]
    one.run([Row("s", 2, 7)])
    assert caches(one, "s")[2].slots[5].name == "r2.f8"
    assert caches(one, "s")[2].sinks == caches(one, "s")[1].sinks


def test_more_less_and_more_steps_again_start_from_the_ring_that_is_current() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=3))
    play(one, "s", range(6))
    rows = {}
    for index, steps in ((6, 3), (7, 1), (8, 3)):
        one.apply("s", Change(steps=steps))
        rows[index] = one.feed("s", chunk(index))
        if index < 8:
            for step in range(rows[index]):
                one.run([Row("s", step, index)])
    one.run([Row("s", 0, 8)])
    assert [cache.newest for cache in caches(one, "s")] == [9, 8, 8]
    assert caches(one, "s")[2].slots[5].name == "r0.f8"


def test_a_new_prompt_arrives_over_three_chunks() -> None:
    one, plain = engine(vae=BlockVae()), engine(vae=BlockVae())
    for each in (one, plain):
        each.open("s", settings())
    changed = play(one, "s", range(9), changes={4: Change(prompt="neon")})
    same = play(plain, "s", range(9))
    apart = [difference(a, b) for a, b in zip(changed, same, strict=True)]
    assert apart[:4] == [0, 0, 0, 0]
    assert 0 < apart[4] < apart[5] < apart[6]
    assert [[p for _, p in stored.prompts] for stored in caches(one, "s")[0].slots[3:]] == [[1.0]] * 3


def test_refreshing_makes_the_ring_what_it_is_under_the_new_prompt() -> None:
    options = StreamOptions(sink_threshold=None, refresh_on_prompt=True)
    one, plain = engine(options=options, vae=BlockVae()), engine(vae=BlockVae())
    for each in (one, plain):
        each.open("s", settings())
        play(each, "s", range(9), changes={5: Change(prompt="neon")})
    refreshed, kept = caches(one, "s")[1], caches(plain, "s")[1]
    assert {stored.prompts for stored in refreshed.slots} == {refreshed.slots[-1].prompts}
    assert len({stored.prompts for stored in kept.slots}) > 1
    assert [torch.equal(a.latent, b.latent) for a, b in zip(refreshed.sinks, kept.sinks, strict=True)] == [True] * 3
    assert not torch.allclose(held(refreshed.ring).values, held(kept.ring).values, atol=1e-3)
    assert one.sink_digest("s") == plain.sink_digest("s")


def test_sinks_follow_a_scene_that_changes_and_the_digest_says_so() -> None:
    options = StreamOptions(sink_threshold=1.1, sink_cooldown_chunks=2, sink_delay_chunks=3)
    one = engine(options=options, vae=BlockVae())
    one.open("s", settings())
    play(one, "s", range(4))
    before = one.sink_digest("s")
    play(one, "s", range(4, 10), scene=3)
    assert one.sink_digest("s") != before != ""
    for cache in caches(one, "s"):
        assert sorted(stored.frame for stored in cache.slots[3:]) == [8, 9, 10]
        assert cache.replaced_in == 7
        assert 8 in [stored.frame for stored in cache.sinks]
        for slot, stored in enumerate(cache.sinks):
            if stored.frame in (8, 9, 10):
                twin = cache.layout.slot(stored.frame)
                assert torch.equal(cache.ring.means[:, slot], cache.ring.means[:, twin])


def test_all_rows_replace_the_same_sink_by_the_same_frame_as_the_last_row_has_decided() -> None:
    """Row by row, while chunks overlap; the rows' own likenesses would choose otherwise."""

    def forward(batch: RowBatch) -> Denoised:
        answer: Denoised = components().transformer(batch)
        similarity = torch.full_like(answer.similarity, 0.9)
        last = batch.timesteps == 400
        similarity[last, 1] = 0.1
        similarity[~last, 2] = -0.5
        return replace(answer, similarity=similarity)

    options = StreamOptions(sink_threshold=0.2, sink_cooldown_chunks=0, sink_delay_chunks=5)
    one = engine(options=options, forward=forward, vae=BlockVae())
    one.open("s", settings(steps=3))
    stream = StreamBatch(one, "s")
    seen: list[list[int | None]] = []
    for index in range(12):
        stream.round(chunk(index))
        seen.append([cache.replaced_in for cache in caches(one, "s")])

    # Chunk 4 is the first after which the ring is full: chunk 9 takes the sink, in each row as it comes to it.
    assert seen[8:12] == [[None] * 3, [9, None, None], [9, 9, None], [9, 9, 9]]
    for cache in caches(one, "s"):
        assert [kept.frame for kept in cache.sinks] == [0, 10, 2]
        assert torch.equal(cache.ring.means[:, 1], cache.ring.means[:, cache.layout.slot(10)])
    assert len(set(one.snapshot("s").sink_digests)) == 3


def test_no_row_runs_before_what_it_does_to_the_sinks_is_decided() -> None:
    one = engine(options=StreamOptions(sink_threshold=1.1, sink_delay_chunks=3), vae=BlockVae())
    one.open("s", settings(steps=2))
    play(one, "s", range(1))
    for index in range(1, 5):
        one.feed("s", chunk(index))
    for index in range(1, 4):
        one.run([Row("s", 0, index)])
    with pytest.raises(EngineFailure, match="row 0 of chunk 4 may not run before chunk 1 has left"):
        one.run([Row("s", 0, 4)])
    one.run([Row("s", 1, 1)])
    one.run([Row("s", 0, 4)])


def test_sinks_have_no_digest_before_the_first_chunk_is_finished() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings())
    assert one.sink_digest("s") == ""
    one.feed("s", chunk(0))
    one.run([Row("s", 0, 0)])
    assert one.sink_digest("s") == ""
    one.run([Row("s", 1, 0)])
    early = one.sink_digest("s")
    play(one, "s", range(1, 4))
    assert len({"", early, one.sink_digest("s")}) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_not_finite_fails_its_session_and_the_row_beside_it_has_run(value: float) -> None:
    poison = Poison({555.0}, times=0, value=value)
    one, clean = engine(forward=poison, vae=BlockVae()), engine(vae=BlockVae())
    for each in (one, clean):
        each.open("good", settings(steps=2))
        each.open("bad", settings(steps=2, seed=9))
        for session in ("good", "bad"):
            play(each, session, range(7))
            each.feed(session, chunk(7))
        each._session("bad").chunks_in_flight[7].timesteps = (555.0, 500.0)

    # The poisoned one is void, the other has moved on by its row.
    poison.times = 1
    rows = [Row("good", 0, 7), Row("bad", 0, 7)]
    answered, failed = together(one, rows)
    assert (answered.row, answered.failure) == (rows[0], None)
    assert failed.row == rows[1]
    assert failed.failure is not None
    assert "not finite" in failed.failure
    with pytest.raises(EngineFailure, match="bad: its state cannot be taken: the network's answer is not finite"):
        one.snapshot("bad")
    with pytest.raises(EngineFailure, match="not finite"):
        one.feed("bad", chunk(8))
    with pytest.raises(EngineFailure, match="may not run yet"):
        one.run(rows[:1])
    one.close("bad")

    # What it goes on with is what it has beside a row that turns out well.
    assert [result.failure for result in together(clean, rows)] == [None, None]
    clean.close("bad")
    outputs = []
    for each in (one, clean):
        results = each.run([Row("good", 1, 7)])
        outputs.append([results[0].output, *play(each, "good", range(8, 11))])
    for a, b in zip(*outputs, strict=True):
        assert a is not None
        assert b is not None
        assert np.array_equal(a, b)


def test_rows_that_do_not_fit_together_are_run_in_halves() -> None:
    cramped = Cramped(rows=1)
    one, roomy = engine(forward=cramped, vae=BlockVae()), engine(vae=BlockVae())
    outputs = []
    for each in (one, roomy):
        for session in "abc":
            each.open(session, settings(steps=1, seed=ord(session)))
            each.feed(session, chunk(0))
        outputs.append([result.output for result in each.run([Row(session, 0, 0) for session in "abc"])])
    assert cramped.tried == [3, 1, 2, 1, 1]
    for a, b in zip(*outputs, strict=True):
        assert a is not None
        assert b is not None
        assert difference(a, b) < 0.02


def test_a_row_that_does_not_fit_alone_fails_its_session() -> None:
    cramped = Cramped(rows=0)
    one = engine(forward=cramped, vae=BlockVae())
    one.open("s", settings())
    one.feed("s", chunk(0))
    (failed,) = together(one, [Row("s", 0, 0)])
    assert failed.failure is not None
    assert "does not fit into memory" in failed.failure
    assert failed.pictures is None

    # It is void, also where there would be memory now; what is opened next is not.
    cramped.rows = 1
    with pytest.raises(EngineFailure, match="does not fit into memory"):
        one.run([Row("s", 0, 0)])
    one.close("s")
    one.open("s", settings())
    one.feed("s", chunk(0))
    one.run([Row("s", 0, 0)])


def test_memory_that_runs_out_for_one_row_of_several_is_that_rows_failure_alone() -> None:
    one, clean = engine(forward=CrampedFor({555.0}), vae=BlockVae()), engine(vae=BlockVae())
    for each in (one, clean):
        for session in "abcd":
            each.open(session, settings(steps=1, seed=ord(session)))
            play(each, session, range(2))
            each.feed(session, chunk(2))
        each._session("c").chunks_in_flight[2].timesteps = (555.0,)
    results = together(one, [Row(session, 0, 2) for session in "abcd"])
    assert [result.row.session for result in results] == list("abcd")
    assert ["no room" in (result.failure or "") for result in results] == [False, False, True, False]
    assert [result.output is not None for result in results] == [True, True, False, True]

    # The same rows on an engine with room, in the company that halving has left them.
    expected = {result.row.session: result for batch in ("ab", "d") for result in run_each(clean, batch, 2)}
    for result in results:
        if result.failure is None:
            assert np.array_equal(shown(result), shown(expected[result.row.session]))
    one.close("c")
    clean.close("c")
    outputs = [[frames for session in "abd" for frames in play(each, session, range(3, 6))] for each in (one, clean)]
    assert all(np.array_equal(a, b) for a, b in zip(*outputs, strict=True))


@pytest.mark.usefixtures("nobody_collects_garbage")
def test_a_ring_that_cannot_be_computed_anew_is_its_sessions_failure_and_keeps_nothing_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = engine(vae=BlockVae(), options=StreamOptions(sink_threshold=None, refresh_on_prompt=True))
    for session in "st":
        one.open(session, settings(steps=1))
        play(one, session, range(3))
    play(one, "s", range(3, 5), changes={3: Change(prompt="ink")})
    play(one, "t", range(3, 5))
    for session in "st":
        one.feed(session, chunk(5))

    others = weakref.ref(one._session("t").chunks_in_flight[5].hidden)

    def full(*_: object) -> object:
        raise PoolFull(1, 0)

    with monkeypatch.context() as patch:
        patch.setattr(PromptBook, "keys_values", full)
        one.engine.submit(7, [Row("s", 0, 5), Row("t", 0, 5)])
    (result,) = one.engine.collect()
    assert isinstance(result, BatchResult)
    assert [row.failure for row in result.rows] == [
        "its prompts do not fit into memory: 1 pages are needed and 0 are free",
        None,
    ]
    one.close("t")
    assert others() is None


def test_an_error_of_the_device_loses_the_batch_and_blames_no_row() -> None:
    faults: list[Exception] = [RuntimeError("CUDA error: an illegal memory access was encountered")]

    def forward(batch: RowBatch) -> Denoised:
        if faults:
            raise faults.pop()
        answer: Denoised = components().transformer(batch)
        return answer

    one = engine(forward=forward, vae=BlockVae())
    for session in "ab":
        one.open(session, settings())
        one.feed(session, chunk(0))
    rows = [Row("a", 0, 0), Row("b", 0, 0)]
    one.engine.submit(7, rows)
    (lost,) = one.collect()
    assert isinstance(lost, BatchResult)
    assert (lost.number, lost.rows) == (7, ())
    assert lost.lost == "RuntimeError: CUDA error: an illegal memory access was encountered"
    assert one.collect() == []


def test_a_batch_that_cannot_be_submitted_is_not_under_way() -> None:
    one = engine(vae=BlockVae())
    for session in "ab":
        one.open(session, settings())
    one.feed("a", chunk(0))
    with pytest.raises(EngineFailure, match="may not run yet") as refusal:
        one.engine.submit(1, [Row("a", 0, 0), Row("b", 0, 0)])
    assert refusal.value.session == "b"
    assert one.collect() == []
    one.run([Row("a", 0, 0)])


def test_whoever_waits_is_woken_when_there_is_something_to_collect() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings())
    one.feed("s", chunk(0))
    woken = list[bool]()
    one.call_when_ready(lambda: woken.append(True))
    assert woken == []
    one.engine.submit(1, [Row("s", 0, 0)])
    assert woken == [True]
    assert [type(result) for result in one.collect()] == [BatchResult]


def test_a_batch_says_how_long_the_device_encoded_denoised_and_decoded() -> None:
    clock = ManualClock()

    def forward(batch: RowBatch) -> Denoised:
        clock.advance(0.5)
        answer: Denoised = components().transformer(batch)
        return answer

    one = engine(forward=forward, vae=SlowVae(clock, encode_s=0.25, decode_s=2.0), clock=clock, overlap=False)
    for session in "ab":
        one.open(session, settings(steps=2))
        one.feed(session, chunk(0))
    batches = [batch(one, number, [Row(session, number, 0) for session in "ab"]) for number in range(2)]
    one.feed("a", chunk(1))
    batches.append(batch(one, 2, [Row("a", 0, 1)]))
    assert [result.seconds for result in batches] == [
        DeviceSeconds(rows=0.5, encode=0.5),
        DeviceSeconds(rows=0.5, decode=4.0),
        DeviceSeconds(rows=0.5, encode=0.25),
    ]
    assert [result.decoded for result in batches] == [0, 2, 0]


def test_the_seconds_of_a_decode_are_told_with_the_first_batch_after_its_end() -> None:
    vae = SlowVae(ManualClock(), encode_s=0.0, decode_s=2.0)
    one = engine(vae=vae, clock=vae.clock)
    one.open("s", settings(steps=1))
    vae.let.clear()
    batches: list[BatchResult] = []
    for index in range(3):
        one.feed("s", chunk(index))
        if index == 2:
            vae.let.set()
            for earlier in batches:
                shown(earlier.rows[0])
        batches.append(batch(one, index, [Row("s", 0, index)]))
        if index < 2:
            assert (batches[-1].seconds.decode, batches[-1].decoded) == (0.0, 0)
    shown(batches[2].rows[0])
    one.feed("s", chunk(3))
    batches.append(batch(one, 3, [Row("s", 0, 3)]))
    assert batches[2].decoded >= 2
    assert sum(result.decoded for result in batches[2:]) in (3, 4)
    assert sum(result.seconds.decode for result in batches) == 2.0 * sum(result.decoded for result in batches)


class BrokenDecoder(BlockVae):
    """Decodes until it is told how to fail."""

    fault: str = ""

    def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
        if self.fault == "raises":
            raise torch.OutOfMemoryError("no room to decode")
        frames = super().decode(stream, latents)
        if self.fault == "not finite":
            stream.finite = torch.tensor(data=False)
        return frames


@pytest.mark.parametrize(("fault", "words"), [("raises", "no room to decode"), ("not finite", "not finite")])
def test_pictures_that_cannot_be_decoded_cost_their_session_alone(
    fault: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    vae = BrokenDecoder()
    one = engine(vae=vae)
    for session in "ab":
        one.open(session, settings(steps=1))
        play(one, session, range(2))
        one.feed(session, chunk(2))
    broken = one._session("a").stream
    decode = vae.decode

    def failing(stream: VaeStream, latents: Tensor) -> Tensor:
        vae.fault = fault if stream is broken else ""
        return decode(stream, latents)

    with caplog.at_level(logging.ERROR), pytest.MonkeyPatch.context() as patch:
        patch.setattr(vae, "decode", failing)
        shown = [result.output is not None for result in one.run([Row("a", 0, 2), Row("b", 0, 2)])]
    assert shown == [False, True]
    assert [words in record.message and record.message.startswith("a: chunk 2") for record in caplog.records] == [True]


def test_an_encoder_without_memory_fails_its_session() -> None:
    class Full(BlockVae):
        def encode(self, stream: VaeStream, frames: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("no room to encode")

    one = engine(vae=Full())
    one.open("s", settings())
    one.feed("s", chunk(0))
    with pytest.raises(EngineFailure, match="s: chunk 0 cannot be taken in: no room to encode"):
        one.run([Row("s", 0, 0)])


def test_rows_that_are_not_ready_are_refused() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings(steps=2))
    with pytest.raises(EngineFailure, match="may not run yet"):
        one.run([Row("s", 0, 0)])
    one.feed("s", chunk(0))
    with pytest.raises(EngineFailure, match="may not run yet"):
        one.run([Row("s", 1, 0)])
    with pytest.raises(EngineFailure, match="not open"):
        one.run([Row("t", 0, 0)])
    with pytest.raises(EngineFailure, match="twice"):
        one.run([Row("s", 0, 0), Row("s", 0, 0)])


def test_wrong_use_is_refused_with_its_reason_and_changes_nothing() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings())
    with pytest.raises(ValueError, match="open already"):
        one.open("s", settings())
    with pytest.raises(ValueError, match="chunk 0 comes next"):
        one.feed("s", chunk(1))
    with pytest.raises(ValueError, match="no frames"):
        one.feed("s", Chunk(0, None))
    with pytest.raises(ValueError, match="expected"):
        one.feed("s", Chunk(0, chunk(1).frames))
    with pytest.raises(ValueError, match="expected"):
        one.feed("s", chunk(0, width=WIDTH * 2))
    for mistaken in (settings(steps=0), settings(steps=5), settings(width=72), settings(height=48)):
        with pytest.raises(ValueError, match=r"steps|sides"):
            one.open("t", mistaken)
    for steps in (0, 5):
        with pytest.raises(ValueError, match="steps"):
            one.engine.feed("s", chunk(0), steps=steps)
    assert play(one, "s", range(1))[0].shape == (5, HEIGHT, WIDTH, 3)
    one.close("s")
    one.close("s")
    with pytest.raises(ValueError, match="not open"):
        one.feed("s", chunk(0))


def test_other_sizes_are_served_beside_each_other() -> None:
    one = engine(vae=BlockVae())
    one.open("s", settings())
    one.open("wide", settings(width=128))
    one.feed("s", chunk(0))
    one.feed("wide", chunk(0, width=128))
    results = [one.run([Row("s", step, 0), Row("wide", step, 0)]) for step in range(2)][-1]
    assert [result.output.shape for result in results if result.output is not None] == [
        (5, HEIGHT, 64, 3),
        (5, HEIGHT, 128, 3),
    ]


def test_a_ring_that_the_model_was_not_built_for_is_refused() -> None:
    with pytest.raises(ValueError, match="built for a ring of 6 slots, 3 of them sinks"):
        engine(options=StreamOptions(ring=RingLayout(slots=5, sinks=2)))


def test_it_says_what_it_is() -> None:
    one = engine()
    assert (one.device.type, one.dtype) == ("cpu", torch.float32)
    assert (one.model, one.devices) == ("tiny", MOST_GPUS["diffusion"])
    assert one.resident_bytes == components().resident_bytes > 0
