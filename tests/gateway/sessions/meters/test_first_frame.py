"""Where the time to the first frame goes."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.slo.stages import Stage, StageTimes
from genlock_gateway.sessions.meters.first_frame import FirstFrame, FirstFrameLeg, Setup

IN_TIME = (
    FirstFrameLeg.OPEN,
    FirstFrameLeg.CHUNK,
    FirstFrameLeg.QUEUE,
    FirstFrameLeg.ENGINE,
    FirstFrameLeg.PACE,
    FirstFrameLeg.ENCODE,
)
STAGES = StageTimes.of(
    {
        Stage.CHUNKED: 0,
        Stage.STARTED: 2_000,
        Stage.GENERATED: 202_000,
        Stage.PACED: 203_000,
        Stage.ENCODED: 207_000,
        Stage.SENT: 208_000,
    }
)
seconds = st.floats(0.0, 100.0)


def test_what_the_worker_tells_of_its_frame_is_taken_from_what_was_waited_here() -> None:
    way = FirstFrame(Setup(0.02, 0.05, 10.0), published_s=10.01, first_in_s=10.1, opened_s=9.0)
    legs = {leg.value: round(value, 6) for leg, value in way.legs_s(STAGES, 10.45).items()}
    assert legs == {
        "answer": 0.02,
        "connect": 0.05,
        "slot": 0.01,
        "camera": 0.09,
        "open": 0.0,
        "chunk": 0.142,
        "queue": 0.002,
        "engine": 0.2,
        "pace": 0.001,
        "encode": 0.005,
    }


def test_a_worker_that_opened_late_is_a_leg_of_its_own() -> None:
    way = FirstFrame(Setup(), published_s=10.0, first_in_s=10.0, opened_s=10.25)
    legs = way.legs_s(STAGES, 10.7)
    assert round(legs[FirstFrameLeg.OPEN], 6) == 0.25
    assert round(legs[FirstFrameLeg.CHUNK], 6) == 0.242


def test_a_picture_that_came_before_the_publication_began_made_nobody_wait() -> None:
    way = FirstFrame(Setup(0.02, 0.05, 10.0), published_s=10.2, first_in_s=10.1, opened_s=9.0)
    assert way.legs_s(STAGES, 10.6)[FirstFrameLeg.CAMERA] == 0.0


@given(published_s=seconds, first_in_s=seconds, opened_s=seconds, waited_s=st.floats(0.208, 100.0))
def test_the_legs_after_the_first_picture_are_the_time_to_the_first_frame(
    published_s: float, first_in_s: float, opened_s: float, waited_s: float
) -> None:
    way = FirstFrame(Setup(connected_s=published_s), published_s, first_in_s, opened_s)
    legs = way.legs_s(STAGES, first_in_s + waited_s)
    assert all(value >= 0.0 for value in legs.values())
    assert list(legs) == list(FirstFrameLeg)
    told = sum(legs[leg] for leg in IN_TIME)
    # A worker that opened late has waited for the publisher's picture, which it got then: no frame is older than that.
    assert told >= waited_s - 1e-6
    if opened_s <= first_in_s:
        assert abs(told - waited_s) < 1e-6
