"""Who may take how much memory: the ledger, and the size of a session against what it really allocates."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.contract import Change, EngineFailure, Row
from genlock_worker.engines.diffusion import memory
from genlock_worker.engines.diffusion.config import MODELS
from genlock_worker.engines.diffusion.memory import DoesNotFit, MemoryBudget, free_for_sessions, session_bytes
from tests.worker.engines.diffusion.streams import HEIGHT, WIDTH, caches, chunk, components, engine, play, settings

MIB = 1024**2


@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=30))
def test_the_ledger_never_lends_more_than_there_is_and_gets_all_of_it_back(steps: list[tuple[str, int]]) -> None:
    budget, model = MemoryBudget(100), dict[str, int]()
    for session, wanted in steps:
        free = budget.free_bytes + model.get(session, 0)
        if wanted > free:
            with pytest.raises(DoesNotFit) as refusal:
                budget.take(session, wanted)
            assert (refusal.value.needed, refusal.value.free) == (wanted, free)
        else:
            budget.take(session, wanted)
            model[session] = wanted
        assert budget.taken == model
        assert budget.free_bytes == 100 - sum(model.values()) >= 0
    for session in "abcd":
        budget.give(session)
    assert budget.free_bytes == 100


def test_what_the_vaes_calls_need_beyond_the_workspace_is_set_aside_once() -> None:
    budget = MemoryBudget(100, 20)
    budget.take("small", 10, call_bytes=15)
    assert budget.free_bytes == 90, "the workspace has room for that"
    budget.take("large", 10, call_bytes=50)
    budget.take("as large", 10, call_bytes=50)
    assert budget.free_bytes == 100 - 30 - 30
    budget.take("large", 15)
    assert budget.free_bytes == 100 - 35 - 30, "more rows, the same pictures"
    with pytest.raises(DoesNotFit) as refusal:
        budget.take("huge", 20, call_bytes=90)
    assert (refusal.value.needed, refusal.value.free) == (20, -5)
    for session in ("large", "as large"):
        budget.give(session)
    assert (budget.taken, budget.free_bytes) == ({"small": 10}, 90)


def test_a_session_whose_pictures_need_too_much_at_once_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    call = components().vae.call_bytes(HEIGHT, WIDTH)
    needed = call.encode + call.decode
    fits = engine().session_bytes(settings())
    room = [needed - 1000, 0]
    monkeypatch.setattr(memory, "free_for_vae", lambda device, *, sessions: room.pop(0))
    engine(limit_bytes=fits + 1000).open("s", settings())
    with pytest.raises(EngineFailure, match="refused"):
        engine(limit_bytes=fits + 1000).open("s", settings())


def test_a_ring_of_the_1_3b_model_at_480p_is_the_published_size() -> None:
    config = MODELS["wan2.1-1.3b"].transformer
    sizes = [
        session_bytes(config, V2V_RING, rows=rows, height=480, width=832, itemsize=2, vae_bytes=0) for rows in (3, 4)
    ]
    assert sizes[1] - sizes[0] == pytest.approx(1.725e9, rel=0.002)


def test_what_a_session_is_said_to_take_covers_what_it_allocates() -> None:
    one = engine()
    plan = settings(steps=4)
    one.open("s", plan)
    play(one, "s", range(4))
    session = one._session("s")
    assert session.text is not None
    rings = sum(cache.ring.bytes for cache in caches(one, "s"))
    allocated = rings + session.stream.bytes + session.text.bytes
    assert allocated <= one.session_bytes(plan) == one.budget.taken["s"]
    assert one.session_bytes(plan) - one.session_bytes(settings(steps=3)) >= rings // 4


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
        patch.setattr("genlock_worker.engines.diffusion.network.kv.Ring.empty", fails)
        with pytest.raises(EngineFailure, match="no memory for its rings"):
            one.open("s", settings())
    assert one.budget.taken == {}
    one.open("s", settings())


def test_without_a_limit_there_is_room_on_this_machine() -> None:
    assert free_for_sessions(torch.device("cpu")) > 100 * MIB
    assert engine(limit_bytes=None).budget.total_bytes == free_for_sessions(components().device)
