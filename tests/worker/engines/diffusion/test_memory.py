"""Who may take how much memory: the ledger, and the size of a session against what it really allocates."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.contract import Change, EngineFailure, Row
from genlock_worker.engines.diffusion import memory
from genlock_worker.engines.diffusion.config import MODELS, StreamOptions
from genlock_worker.engines.diffusion.engine import DiffusionEngine
from genlock_worker.engines.diffusion.memory import (
    DoesNotFit,
    MemoryBudget,
    SessionBytes,
    free_for_sessions,
    session_bytes,
    shared_out,
)
from genlock_worker.engines.diffusion.network.text_pool import text_bytes
from tests.worker.engines.diffusion.streams import (
    HEIGHT,
    WIDTH,
    BlockVae,
    StreamBatch,
    caches,
    chunk,
    components,
    engine,
    loaded,
    play,
    settings,
    stored,
)

MIB = 1024**2


SHARES = st.tuples(*[st.integers(0, 30)] * 3).map(lambda parts: SessionBytes(*parts))
CALLS = st.lists(st.tuples(st.sampled_from("abc"), SHARES), max_size=30)


@given(calls=CALLS, parts=st.sampled_from([None, SessionBytes(50, 20, 30)]))
def test_the_ledger_never_lends_more_than_there_is_and_gets_all_of_it_back(
    calls: list[tuple[str, SessionBytes]], parts: SessionBytes | None
) -> None:
    budget, model = MemoryBudget(100, parts=parts), dict[str, SessionBytes]()
    for session, wanted in calls:
        after = {**model, session: wanted}
        sums = [sum(taken[part] for taken in after.values()) for part in range(3)]
        if sum(sums) > 100 or (parts is not None and any(map(int.__gt__, sums, parts))):
            with pytest.raises(DoesNotFit):
                budget.take(session, wanted)
        else:
            budget.take(session, wanted)
            model = after
        assert budget.taken == {name: sum(taken) for name, taken in model.items()}
        assert budget.free_bytes == 100 - sum(map(sum, model.values())) >= 0
    for session in "abcd":
        budget.give(session)
    assert budget.free_bytes == 100


def test_what_the_vaes_calls_need_beyond_the_workspace_is_set_aside_once() -> None:
    budget = MemoryBudget(100, 20)
    budget.take("small", small := SessionBytes(5, 0, 5), call_bytes=15)
    assert budget.free_bytes == 90, "the workspace has room for that"
    budget.take("large", small, call_bytes=50)
    budget.take("as large", small, call_bytes=50)
    assert budget.free_bytes == 100 - 30 - 30
    budget.take("large", SessionBytes(10, 0, 5))
    assert budget.free_bytes == 100 - 35 - 30, "more rows, the same pictures"
    with pytest.raises(DoesNotFit) as refusal:
        budget.take("huge", SessionBytes(10, 5, 5), call_bytes=90)
    assert (refusal.value.needed, refusal.value.free) == (20, -5)
    for session in ("large", "as large"):
        budget.give(session)
    assert (budget.taken, budget.free_bytes) == ({"small": 10}, 90)

    shared = MemoryBudget(100, 20, SessionBytes(50, 20, 30))
    with pytest.raises(DoesNotFit) as refusal:
        shared.take("large", SessionBytes(1, 1, 11), call_bytes=40)
    assert (refusal.value.needed, refusal.value.free) == (11, 10), "of what lies outside the pools"


def test_a_session_whose_pictures_need_too_much_at_once_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    call = components().vae.call_bytes(HEIGHT, WIDTH)
    needed = call.encode + call.decode
    fits = engine().session_bytes(settings())
    room = [needed - 1000, 0]
    monkeypatch.setattr(memory, "free_for_vae", lambda device, *, sessions: room.pop(0))
    engine(limit_bytes=fits + 1000).open("s", settings())
    with pytest.raises(EngineFailure, match="refused"):
        engine(limit_bytes=fits + 1000).open("s", settings())


def test_a_refusal_says_what_is_short() -> None:
    budget = MemoryBudget(100, parts=SessionBytes(50, 20, 30))
    budget.take("a", SessionBytes(40, 5, 5))
    for needed, figures in ((SessionBytes(40, 5, 10), (55, 50)), (SessionBytes(11, 0, 0), (11, 10))):
        with pytest.raises(DoesNotFit) as refusal:
            budget.take("b", needed)
        assert (refusal.value.needed, refusal.value.free) == figures


@given(total=st.integers(0, 10**12), typical=SHARES.filter(any))
def test_memory_is_shared_out_as_typical_sessions_need_it(total: int, typical: SessionBytes) -> None:
    parts = shared_out(total, typical)
    assert sum(parts) == total
    for part in range(2):
        assert parts[part] == total * typical[part] // sum(typical)


def test_a_ring_of_the_1_3b_model_at_480p_is_the_published_size_with_a_spare_slot_and_what_pages_cost() -> None:
    config = MODELS["wan2.1-1.3b"].transformer
    three, four = (
        session_bytes(config, V2V_RING, rows=rows, height=480, width=832, itemsize=2, vae_bytes=0) for rows in (3, 4)
    )
    published, spare, unused, means = 1.725e9, 7 / 6, 25 * 64 / 1560, 1 + 4 / (64 * 2)
    assert four.rings - three.rings == pytest.approx(published * spare * unused * means, rel=0.002)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 128), (80, 144)])
def test_what_a_session_is_said_to_take_covers_what_it_allocates(width: int, height: int) -> None:
    one = engine()
    plan = settings(steps=4, width=width, height=height)
    one.open("s", plan)
    session = one._session("s")
    pool = session.shared.pool
    pages = {page for cache in caches(one, "s") for slot in (*cache.ring.slots, cache.ring.spare) for page in slot}
    rings = len(pages) * pool.bytes // len(pool.means[0])
    assert len(pages) == 4 * 7 * -(-(width // 16) * (height // 16) // 64)
    for index in range(4):
        for step in range(one.feed("s", chunk(index, width=width, height=height))):
            one.run([Row("s", step, index)])
    assert rings + session.stream.bytes + session.text.bytes <= one.session_bytes(plan) == one.budget.taken["s"]
    assert one.session_bytes(plan) - one.session_bytes(replace(plan, steps=3)) >= rings // 4


def test_who_changes_the_prompt_with_every_chunk_needs_no_more_than_is_set_aside_and_comes_back_with_it() -> None:
    config = MODELS["tiny"].transformer
    plan = settings(steps=4)
    texts = engine(vae=BlockVae())._admission.bytes(plan, 4).texts // text_bytes(config, itemsize=4)
    running, other = (engine(vae=BlockVae(), parts=loaded()) for _ in range(2))
    for one in (running, other):
        one._shared.components.prompts.texts.reserve(texts)
    running.open("s", plan)
    stream = StreamBatch(running, "s")
    for index in range(12):
        running.apply("s", Change(prompt=f"prompt {index}"))
        stream.round(chunk(index))
    assert len({one.prompts for one in running._session("s").chunks_in_flight.values()}) == 3

    # One more than that: the last row of a chunk may wait while the next chunks come in.
    for index in (12, 13):
        running.apply("s", Change(prompt=f"prompt {index}"))
        stream.begin(chunk(index))
        running.run([row for row in stream.ready() if row.chunk == index])
    other.restore("s", plan, stored(running.snapshot("s")))


def test_pools_of_fixed_sizes_hold_what_the_ledger_says_and_keep_their_addresses() -> None:
    plan = settings(steps=2, width=512, height=512)
    parts = loaded()
    one = DiffusionEngine(
        parts,
        options=StreamOptions(),
        forward=parts.transformer,
        memory_limit_bytes=4 * engine().session_bytes(plan),
        clock=ManualClock(),
        fixed_pools=True,
    )
    pool, texts = one._shared.pool, parts.prompts.texts
    tensors = (pool.keys, pool.values, pool.means, texts.keys, texts.values)

    def open_all() -> None:
        for number in range(100):
            one.open(f"s{number}", plan)

    with pytest.raises(EngineFailure, match="MiB are free"):
        open_all()
    assert 3 <= len(one.budget.taken) <= 4
    one.close("s0")
    one.open("again", plan)
    now = (pool.keys, pool.values, pool.means, texts.keys, texts.values)
    assert all(before is after for before, after in zip(tensors, now, strict=True))
    one.stop()


def test_a_session_that_does_not_fit_is_refused_with_its_figures_and_the_others_live() -> None:
    fits = engine().session_bytes(settings())
    one = engine(limit_bytes=fits + fits // 2)
    one.open("a", settings())
    play(one, "a", range(2))
    with pytest.raises(
        EngineFailure, match=rf"refused: {-(-fits // MIB)} MiB .* {-(-(fits // 2) // MIB)} MiB are free"
    ) as no:
        one.open("b", settings())
    assert no.value.session == "b"
    state = one.snapshot("a")
    with pytest.raises(EngineFailure, match="refused"):
        one.restore("b", settings(), state)
    play(one, "a", range(2, 4))
    one.close("a")
    one.open("b", settings())


def test_steps_that_do_not_fit_are_cut_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    room = engine().session_bytes(settings(steps=3))
    one = engine(limit_bytes=room)
    one.open("s", settings(steps=2))
    play(one, "s", range(2))
    one.apply("s", Change(steps=4))
    rows = []
    for index in range(2, 5):
        rows.append(one.feed("s", chunk(index)))
        for step in range(rows[-1]):
            one.run([Row("s", step, index)])
    assert rows == [3, 3, 3]
    assert [record.message for record in caplog.records if "no memory for 4 steps" in record.message] == [
        record.message for record in caplog.records if "no memory" in record.message
    ]
    assert len(caplog.records) == 1


def test_rows_that_were_dropped_are_free_for_others() -> None:
    one = engine()
    one.open("s", settings(steps=4))
    play(one, "s", range(3), changes={2: Change(steps=1)})
    assert len(caches(one, "s")) == 1
    assert one.budget.taken == {"s": one.session_bytes(settings(steps=1))}
    one.close("s")
    assert one.budget.taken == {}


def test_an_allocation_that_fails_refuses_the_session_and_gives_back_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine()

    def fails(*_: object, **__: object) -> object:
        raise torch.OutOfMemoryError("rings")

    with monkeypatch.context() as patch:
        patch.setattr("genlock_worker.engines.diffusion.network.kv_pool.PagedRing.taken", fails)
        with pytest.raises(EngineFailure, match="no memory for its rings"):
            one.open("s", settings())
    assert one.budget.taken == {}
    one.open("s", settings())


def test_without_a_limit_there_is_room_on_this_machine() -> None:
    assert free_for_sessions(torch.device("cpu")) > 100 * MIB
    assert engine(limit_bytes=None).budget.total_bytes == free_for_sessions(components().device)
