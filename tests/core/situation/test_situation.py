"""What is told of a session: one state for all facts, in words that hold, and nothing offered that is not allowed."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.approximation.levels import Level
from genlock_core.claims.facts import MoveCause, Publishing
from genlock_core.media import Trouble
from genlock_core.situation.facts import Pictures, SituationFacts
from genlock_core.situation.lowered import Lowered, LoweredReason
from genlock_core.situation.situation import Told, situation_of
from genlock_core.situation.states import OfferedAct, SessionState, Tone
from genlock_core.situation.table import AT_PAGE, PUBLISHERS, TABLE
from genlock_core.situation.words import MOVES, OFFERS, TROUBLES
from genlock_core.spec.session import Phase, SourceType
from genlock_core.tokens import Role

LIVE = SituationFacts(
    session="default/demo",
    phase=Phase.LIVE,
    role=Role.PUBLISH,
    publishing=Publishing.NOW,
    pictures=Pictures.MOVING,
    viewers=1,
    steps_asked=2,
    steps_running=2,
)

LOWERED = Lowered(granted=Level(2), requested=Level(4), frame_rate=16.0, reason=LoweredReason.BUSY, since_ms=1_000)
FACTS = st.builds(
    SituationFacts,
    session=st.just("default/demo"),
    phase=st.sampled_from(Phase),
    reason=st.sampled_from(["", "Idle", "Deleted", "refused", "silent", "no slot for it"]),
    role=st.sampled_from(Role),
    source=st.sampled_from(SourceType),
    publishing=st.sampled_from(Publishing),
    source_moves=st.booleans(),
    trouble=st.none() | st.sampled_from(Trouble),
    paused=st.booleans(),
    pictures=st.sampled_from(Pictures),
    viewers=st.integers(0, 3),
    frame_rate=st.integers(1, 60),
    late_share=st.none() | st.floats(0, 1),
    steps_asked=st.integers(0, 4),
    steps_running=st.integers(0, 4),
    strained=st.booleans(),
    lowered=st.none() | st.just(LOWERED),
    busy_workers=st.none() | st.integers(0, 5),
    next_room_s=st.none() | st.floats(0, 1e6),
    next_worker_s=st.none() | st.floats(0, 1e6),
    may_start_again=st.booleans(),
    at_page=st.frozensets(st.sampled_from(sorted(AT_PAGE)), max_size=2),
)


def told(**changes: Any) -> Told:
    """What is told of a session that is live but for these facts."""
    return situation_of(replace(LIVE, **changes))


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_has_every_state_once_and_every_offer_has_words() -> None:
    assert [row.state for row in TABLE] == list(SessionState), "the enum lists them in the table's order"
    assert set(OFFERS) == set(OfferedAct)
    assert {offer for row in TABLE for offer in row.offers} == set(OfferedAct) - {OfferedAct.GET_PUBLISHER_LINK}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, SessionState.LIVE),
        ({"phase": Phase.DRAINING}, SessionState.LIVE),
        ({"phase": Phase.ASSIGNED}, SessionState.LIVE),
        ({"publishing": Publishing.NEVER}, SessionState.WAITING_FOR_PUBLISHER),
        ({"publishing": Publishing.GONE}, SessionState.NOBODY_PUBLISHES),
        ({"publishing": Publishing.GONE, "paused": True}, SessionState.NOBODY_PUBLISHES),
        ({"publishing": Publishing.NEVER, "phase": Phase.PENDING}, SessionState.WAITING_FOR_PUBLISHER),
        ({"phase": Phase.PENDING, "pictures": Pictures.NONE}, SessionState.WAITING_FOR_WORKER),
        ({"pictures": Pictures.NONE}, SessionState.STARTING),
        ({"pictures": Pictures.NONE, "trouble": Trouble.ENCRYPTED}, SessionState.TROUBLE),
        ({"pictures": Pictures.STOPPED}, SessionState.STALLED),
        ({"pictures": Pictures.STOPPED, "source_moves": False}, SessionState.SOURCE_STILL),
        ({"pictures": Pictures.STOPPED, "paused": True}, SessionState.PAUSED),
        ({"steps_running": 1}, SessionState.APPROXIMATED),
        ({"frame_rate_running": 8.0}, SessionState.APPROXIMATED),
        ({"lowered": LOWERED}, SessionState.LOWERED),
        ({"lowered": LOWERED, "strained": True}, SessionState.LOWERED),
        ({"lowered": LOWERED, "late_share": 0.3}, SessionState.TOO_SLOW),
        ({"lowered": LOWERED, "pictures": Pictures.STOPPED}, SessionState.STALLED),
        ({"frame_rate_running": 16.0}, SessionState.LIVE),
        ({"strained": True}, SessionState.MACHINE_BUSY),
        ({"late_share": 0.3}, SessionState.TOO_SLOW),
        ({"late_share": 0.3, "pictures": Pictures.STOPPED}, SessionState.STALLED),
        ({"late_share": 0.3, "strained": True}, SessionState.TOO_SLOW),
        ({"steps_running": 1, "late_share": 0.3}, SessionState.TOO_SLOW),
        ({"phase": Phase.RECOVERING, "reason": "silent"}, SessionState.RECOVERING),
        ({"phase": Phase.PENDING, "busy_workers": 2}, SessionState.CAPACITY_FULL),
        ({"phase": Phase.PENDING, "busy_workers": 0}, SessionState.NO_WORKER),
        ({"phase": Phase.RECOVERING, "busy_workers": 1}, SessionState.CAPACITY_FULL),
        ({"phase": Phase.ENDED, "reason": "Idle"}, SessionState.ENDED),
        ({"phase": Phase.FAILED, "reason": "no slot"}, SessionState.FAILED),
        ({"source": SourceType.NONE, "publishing": Publishing.NEVER}, SessionState.LIVE),
        ({"source": SourceType.FILE, "viewers": 0, "pictures": Pictures.NONE}, SessionState.RESTING),
        ({"source": SourceType.FILE, "pictures": Pictures.NONE}, SessionState.STARTING),
        ({"source": SourceType.FILE, "pictures": Pictures.STOPPED, "source_moves": False}, SessionState.STALLED),
    ],
)
def test_the_facts_of_a_session_make_its_state(changes: dict[str, Any], state: SessionState) -> None:
    assert told(**changes).state is state


@pytest.mark.parametrize("state", sorted(AT_PAGE))
def test_what_only_a_page_knows_is_told_where_it_holds(state: SessionState) -> None:
    assert told(at_page=frozenset({state})).state is state
    assert told(at_page=frozenset({state}), phase=Phase.ENDED).state in {
        SessionState.ENDED,
        SessionState.MISSING,
        SessionState.TOKEN_REFUSED,
        SessionState.TOKEN_NEEDED,
    }


# -- what holds for all facts ------------------------------------------------------------------------------------------


@given(FACTS)
def test_there_is_always_one_state_in_words_that_are_filled_in(facts: SituationFacts) -> None:
    now = situation_of(facts)
    assert now.headline
    assert not set("{}") & set(now.sentence)
    assert "  " not in now.sentence
    assert now == situation_of(facts)


@given(FACTS)
def test_nothing_is_offered_that_the_role_may_not_do(facts: SituationFacts) -> None:
    now = situation_of(facts)
    if facts.role is Role.VIEW:
        assert not PUBLISHERS & set(now.offers)
    else:
        assert OfferedAct.GET_PUBLISHER_LINK not in now.offers
    if facts.source is not SourceType.WEBRTC:
        assert not {OfferedAct.TURN_CAMERA_ON, OfferedAct.PLAY_FILE, OfferedAct.TAKE_OVER} & set(now.offers)
    if not facts.may_start_again:
        assert OfferedAct.START_AGAIN not in now.offers


@given(FACTS)
def test_what_does_not_move_is_never_called_live(facts: SituationFacts) -> None:
    now = situation_of(facts)
    if now.tone is Tone.GOOD or now.headline.startswith("Live"):
        assert facts.pictures is Pictures.MOVING
        assert facts.publishing is Publishing.NOW or facts.source is not SourceType.WEBRTC
        assert facts.phase not in {Phase.ENDED, Phase.FAILED, Phase.RECOVERING}
        assert not facts.paused
        assert facts.trouble is None or facts.source is not SourceType.WEBRTC


@given(FACTS)
def test_a_viewer_is_told_nothing_to_do_that_takes_a_publisher(facts: SituationFacts) -> None:
    assert "Turn the camera on" not in situation_of(replace(facts, role=Role.VIEW)).detail


# -- the words ---------------------------------------------------------------------------------------------------------


def test_overload_is_not_told_as_death() -> None:
    for cause in (MoveCause.SILENT, MoveCause.EXPIRED):
        assert "too busy" in told(phase=Phase.RECOVERING, reason=cause.value).detail
        assert "went away" not in told(phase=Phase.RECOVERING, reason=cause.value).detail
    assert "went away" in told(phase=Phase.RECOVERING, reason=MoveCause.REFUSED.value).detail
    assert set(MOVES) > {MoveCause.SILENT, MoveCause.EXPIRED, MoveCause.REFUSED}


def test_whoever_waits_for_room_hears_when_there_may_be_some() -> None:
    full = {"phase": Phase.PENDING, "busy_workers": 2}
    assert told(**full).headline == "All 2 workers are busy"
    assert told(phase=Phase.PENDING, busy_workers=1).headline == "The one worker is busy"
    assert "It starts as soon as there is room; this page tries again by itself" in told(**full).detail
    assert "next" not in told(**full).detail, "who waits stands in no order"
    assert "in about 40 s" in told(**full, next_room_s=40.2).detail
    assert "in about 10 min" in told(**full, next_room_s=601.0).detail
    starting = told(**full, next_room_s=601.0, next_worker_s=45.0).detail
    assert "Another worker is expected in about 45 s." in starting
    assert "nobody knows" in told(**full).detail


def test_an_end_says_why_and_offers_a_way_back_where_there_is_one() -> None:
    ended = told(phase=Phase.ENDED, reason="Deleted", may_start_again=True)
    assert ended.detail == "It was ended on purpose."
    assert ended.offers == (OfferedAct.START_AGAIN, OfferedAct.ALL_SESSIONS)
    assert told(phase=Phase.ENDED).offers == (OfferedAct.ALL_SESSIONS,)
    viewer = told(phase=Phase.ENDED, may_start_again=True, role=Role.VIEW)
    assert viewer.offers == (OfferedAct.GET_PUBLISHER_LINK, OfferedAct.ALL_SESSIONS)
    assert told(phase=Phase.FAILED, reason="the engine gave it up: out of memory").detail == (
        "The engine gave it up: out of memory."
    )


def test_too_slow_says_by_how_much_and_offers_what_can_be_lowered() -> None:
    slow = told(late_share=0.25, strained=True)
    assert slow.headline == "Too slow for 16 pictures a second"
    assert slow.detail.startswith("This machine is busy: 25% of the pictures come late.")
    assert slow.offers == (OfferedAct.LOWER_STEPS,)
    assert told(late_share=0.25, steps_asked=1, steps_running=1).offers == ()


@pytest.mark.parametrize("trouble", Trouble)
def test_each_trouble_says_what_to_do(trouble: Trouble) -> None:
    assert told(trouble=trouble).detail == TROUBLES[trouble]


def test_the_states_that_matter_are_told_apart() -> None:
    """Over all combinations of what decides most: no two facts that differ for a person read the same."""
    said: dict[str, set[SessionState]] = {}
    for publishing, pictures, paused, moves in itertools.product(Publishing, Pictures, (False, True), (False, True)):
        now = told(publishing=publishing, pictures=pictures, paused=paused, source_moves=moves)
        said.setdefault(now.sentence, set()).add(now.state)
    assert all(len(states) == 1 for states in said.values())
    assert len(said) == 7
