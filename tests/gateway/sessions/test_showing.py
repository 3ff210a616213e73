"""A session as it is shown: what its record, Redis and this gateway know of it, put together."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from genlock_core.claims.facts import Publishing, Room
from genlock_core.claims.identity import WorkerIdentity
from genlock_core.claims.record import ControlValue, Granted, LevelLimit, PoolChoice, SessionRecord
from genlock_core.media import Trouble
from genlock_core.situation.facts import Pictures
from genlock_core.situation.states import OfferedAct, SessionState
from genlock_core.slo.report import StreamReport
from genlock_core.spec.session import Phase, SessionKey, StreamSessionSpec, resolve
from genlock_core.tokens import Role
from genlock_gateway.sessions.session_view import SessionView
from genlock_gateway.sessions.showing import NOT_HERE, phase_of, view_of
from genlock_gateway.sessions.surroundings import Surroundings

RECORD = SessionRecord(
    session=resolve(SessionKey(name="demo"), StreamSessionSpec(steps=4)),
    pools=(PoolChoice("local", 500),),
    phase=Phase.LIVE,
    owner=WorkerIdentity("w0", "1"),
    epoch=7,
)
SEEN = replace(NOT_HERE, phase=Phase.LIVE, publisher=True, viewers=1, pictures=Pictures.MOVING, source_moves=True)
PUBLISHED = Surroundings(publishing=Publishing.NOW, engine="mock", gpus=1)


def view(record: SessionRecord = RECORD, role: Role = Role.PUBLISH, **more: Any) -> SessionView:
    return view_of(record, role=role, may_start_again=True, **{"surroundings": PUBLISHED, "here": SEEN, **more})


def test_what_everybody_knows_is_put_together() -> None:
    shown = view()
    assert (shown.state, shown.role, shown.engine, shown.publishing) == (SessionState.LIVE, "publish", "mock", True)
    assert (shown.worker, shown.gpus, shown.viewers, shown.publisher) == ("w0", 1, 1, True)
    assert view(role=Role.VIEW).role == "view"
    assert view(role=Role.ADMIN).role == "publish"


def test_the_model_that_stands_in_is_told_beside_the_one_that_was_asked_for() -> None:
    other = replace(RECORD, pools=(*RECORD.pools, PoolChoice("l", 100, model="light")), pool="l", stand_in="light")
    assert (view(other).model, view(other).stand_in) == ("wan2.1-1.3b", "light")
    assert view().stand_in is None


def test_a_session_that_is_live_elsewhere_is_live_here_too() -> None:
    assert view(here=None).state is SessionState.LIVE
    assert view(replace(RECORD, phase=Phase.ASSIGNED), here=None).state is SessionState.STARTING


@pytest.mark.parametrize("publishing", [Publishing.NEVER, Publishing.GONE])
def test_nothing_is_live_without_a_publisher_whatever_the_record_still_says(publishing: Publishing) -> None:
    assert phase_of(RECORD, publishing) is Phase.ASSIGNED
    assert phase_of(RECORD, Publishing.NOW) is Phase.LIVE
    own = resolve(SessionKey(name="demo"), StreamSessionSpec.model_validate({"source": {"type": "testPattern"}}))
    assert phase_of(replace(RECORD, session=own), publishing) is Phase.LIVE
    shown = view(here=None, surroundings=Surroundings(publishing=publishing))
    assert (shown.phase, shown.publishing) == (Phase.ASSIGNED, False)


def test_figures_and_controls_make_the_state() -> None:
    slower = replace(SEEN, stats=StreamReport(steps=2, requested_steps=4, output_fps=16.0))
    assert view(here=slower).state is SessionState.APPROXIMATED
    halved = replace(SEEN, stats=StreamReport(steps=1, requested_steps=2, output_fps=8.0, frame_rate=8.0))
    told = view(here=halved).situation
    assert told.headline == "Live, with fewer pictures"
    assert told.detail == "8 of 16 pictures a second and 1 of 2 denoising steps, so that no picture comes late."
    # The worker has not read of the change yet.
    asked = replace(SEEN, stats=StreamReport(steps=2, requested_steps=2, output_fps=16.0))
    assert view(here=asked).state is SessionState.LIVE
    late = replace(SEEN, stats=StreamReport(steps=4, requested_steps=4, output_fps=15.0, miss_share=0.4))
    assert view(here=late).state is SessionState.LIVE, "one report makes no state"
    assert view(here=replace(late, late_share=0.4)).situation.offers == [OfferedAct.LOWER_STEPS]
    strained = replace(SEEN, stats=StreamReport(steps=4, requested_steps=4, output_fps=16.0, strained=True))
    assert view(here=strained).state is SessionState.MACHINE_BUSY
    useless = replace(SEEN, pictures=Pictures.NONE, trouble=Trouble.ENCRYPTED)
    assert (view(here=useless).state, view(here=useless).trouble) == (SessionState.TROUBLE, Trouble.ENCRYPTED)
    paused = replace(RECORD, control={"paused": ControlValue("true", "1-1")})
    assert view(paused).state is SessionState.PAUSED


LOWERED = replace(
    RECORD,
    granted=Granted(2, 12, 1_700_000_000_000),
    limit=LevelLimit(2, 1, 1_700_000_000_000),
    below_since_ms=1_700_000_000_500,
)


def test_who_has_less_than_was_asked_for_is_told_what_and_why() -> None:
    shown = view(LOWERED)
    assert shown.level is not None
    assert (shown.state, shown.steps) == (SessionState.LOWERED, 4)
    assert shown.situation.headline == shown.level.detail == "2 of 4 steps: the installation is busy"
    assert (shown.level.steps, shown.level.requested, shown.level.frame_rate) == (2, 4, 16.0)
    assert shown.level.since == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)

    halved = view(replace(LOWERED, granted=Granted(1, 13, 0, every=2))).level
    assert halved is not None
    assert (halved.steps, halved.frame_rate) == (1, 8.0)
    assert halved.detail == "1 of 4 steps and 1 of 2 pictures: the installation is busy"


def test_nothing_is_told_of_levels_where_nothing_is_lowered() -> None:
    whole = view(replace(LOWERED, granted=Granted(4, 13), limit=None, below_since_ms=0))
    assert whole.level is not None
    assert (whole.state, whole.level.reason, whole.level.detail, whole.level.since) == (
        SessionState.LIVE,
        None,
        "",
        None,
    )
    assert view(replace(LOWERED, owner=None, phase=Phase.PENDING)).level is None
    assert view(RECORD).level is None, "its release knows no levels"


def test_figures_of_the_level_before_tell_of_no_overload_just_after_a_change() -> None:
    raised = replace(LOWERED, granted=Granted(4, 13), limit=None, below_since_ms=0)
    before = replace(SEEN, stats=StreamReport(steps=2, requested_steps=4, output_fps=16.0, frame_rate=8.0))
    assert view(raised, here=replace(before, level_settles=True)).state is SessionState.LIVE
    assert view(raised, here=before).state is SessionState.APPROXIMATED


def test_without_room_the_reason_says_so_while_nobody_has_the_session() -> None:
    full = Surroundings(publishing=Publishing.NOW, room=Room(workers=2, fits=False, next_ms=30_000))
    waiting = replace(RECORD, owner=None, phase=Phase.PENDING)
    shown = view(waiting, here=None, surroundings=full)
    assert (shown.reason, shown.state) == ("no-capacity", SessionState.CAPACITY_FULL)
    assert "in about 30 s" in shown.situation.detail
    assert view(here=None, surroundings=full).reason == "", "it has a worker by now"


def test_this_gateway_may_know_better_why_a_session_recovers() -> None:
    lost = replace(SEEN, phase=Phase.RECOVERING, reason="refused")
    assert (view(here=lost).reason, view(here=lost).state) == ("refused", SessionState.RECOVERING)
    assert "its process is gone" in view(here=lost).situation.detail
