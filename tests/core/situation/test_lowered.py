"""What is told of a session that has less than it asks for: by its record, and nothing where nothing is lowered."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.approximation.levels import Level
from genlock_core.claims.facts import Publishing
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.record import (
    ControlValue,
    Granted,
    LevelLimit,
    PoolChoice,
    SessionRecord,
)
from genlock_core.situation.facts import Pictures, SituationFacts
from genlock_core.situation.lowered import LoweredReason, lowered
from genlock_core.situation.situation import Told, situation_of
from genlock_core.situation.states import SessionState, Tone
from genlock_core.spec.session import Phase, SessionKey, StreamSessionSpec, resolve

SESSION = resolve(SessionKey(name="demo"), StreamSessionSpec.model_validate({"steps": 4}))
SERVED = SessionRecord(
    SESSION,
    (PoolChoice("local", 1_000, (250, 500, 750, 1_000)),),
    epoch=7,
    owner=WorkerIdentity("w0", "w0-1"),
    pool="local",
    cost=1_000,
    granted=Granted(4, 11, 5_000),
)


def limited(steps: int, *, every: int = 1) -> SessionRecord:
    return replace(
        SERVED,
        granted=Granted(steps, 12, 9_000, every),
        limit=LevelLimit(steps, every, 9_000),
        below_since_ms=8_000,
    )


def told(record: SessionRecord) -> Told:
    return situation_of(
        SituationFacts(
            session=record.name,
            phase=Phase.LIVE,
            publishing=Publishing.NOW,
            pictures=Pictures.MOVING,
            lowered=lowered(record),
        )
    )


def test_a_session_that_has_what_it_asks_for_is_not_lowered() -> None:
    assert lowered(SERVED) is None
    assert told(SERVED).state is SessionState.LIVE
    # Its user asks for fewer, and the rest is about to be given back.
    assert lowered(replace(SERVED, control={"steps": ControlValue("2", "1-0")})) is None


@pytest.mark.parametrize("record", [replace(limited(2), owner=None), replace(limited(2), granted=None)])
def test_where_nobody_serves_it_or_nobody_knows_levels_nothing_is_told(record: SessionRecord) -> None:
    assert lowered(record) is None


@pytest.mark.parametrize(
    ("record", "headline"),
    [
        (limited(2), "2 of 4 steps: the installation is busy"),
        (limited(1, every=2), "1 of 4 steps and 1 of 2 pictures: the installation is busy"),
        (limited(4, every=2), "1 of 2 pictures: the installation is busy"),
        (replace(limited(2), limit=None), "2 of 4 steps: its worker has no room for more"),
        # The plan allows all that it asks for, and there is no room for it.
        (
            replace(limited(2), limit=LevelLimit(4, 1, 9_000)),
            "2 of 4 steps: its worker has no room for more",
        ),
    ],
)
def test_the_words_say_what_it_has_and_why(record: SessionRecord, headline: str) -> None:
    assert told(record).state is SessionState.LOWERED
    assert (told(record).headline, told(record).tone) == (headline, Tone.WARN)
    assert "by itself" in told(record).detail


@pytest.mark.parametrize("limit", [None, LevelLimit(3, 1, 9_000)])
def test_steps_that_its_pool_has_no_price_for_are_told_as_too_late(limit: LevelLimit | None) -> None:
    priced = (PoolChoice("local", 500, (250, 500)),)
    record = replace(limited(2), pools=priced, limit=limit)
    assert told(record).headline == "2 of 4 steps: more would come too late"
    assert "measured to be later" in told(record).detail
    assert told(replace(limited(1), pools=priced)).headline == "1 of 4 steps: the installation is busy"
    found = lowered(replace(limited(2, every=2), pools=priced))
    assert found is not None
    assert found.reason is LoweredReason.BUSY


def test_since_when_is_since_it_fell_below_and_not_since_its_last_change() -> None:
    found = lowered(limited(2))
    assert found is not None
    assert (found.since_ms, found.reason) == (8_000, LoweredReason.BUSY)


def test_the_frame_rate_is_that_of_the_frames_that_are_used() -> None:
    found = lowered(limited(1, every=2))
    assert found is not None
    assert found.frame_rate == SESSION.frame_rate / 2


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 2]))
def test_it_is_lowered_exactly_when_it_has_fewer_steps_or_fewer_frames_than_it_asks_for(
    granted: int, wanted: int, every: int
) -> None:
    record = replace(limited(granted, every=every), control={"steps": ControlValue(str(wanted), "1-0")})
    found = lowered(record)
    assert (found is not None) == (granted < wanted or every == 2)
    if found is not None:
        assert found.granted.is_below(found.requested)
        assert found.requested == Level(wanted)
