"""The legs of a recovery add up to it, whichever of their ends are seen here."""

from hypothesis import given
from hypothesis import strategies as st

from genlock_gateway.sessions.meters.recovery import RecoveryLeg, RecoveryTime

SEEN = (RecoveryLeg.DETECT, RecoveryLeg.CLAIM, RecoveryLeg.OPEN, RecoveryLeg.PICTURE, RecoveryLeg.IDR)


def test_each_leg_is_what_lies_between_two_moments_and_the_worker_says_its_own() -> None:
    recovery = RecoveryTime(10.0)
    recovery.reached(RecoveryLeg.DETECT, 10.125)
    recovery.reached(RecoveryLeg.CLAIM, 10.25, epoch=7)
    recovery.reached(RecoveryLeg.OPEN, 11.0, epoch=7, restore_s=0.5)
    recovery.reached(RecoveryLeg.PICTURE, 11.5, epoch=7)
    recovery.reached(RecoveryLeg.IDR, 11.75)
    assert recovery.legs_s() == {
        RecoveryLeg.DETECT: 0.125,
        RecoveryLeg.CLAIM: 0.125,
        RecoveryLeg.OPEN: 0.25,
        RecoveryLeg.RESTORE: 0.5,
        RecoveryLeg.PICTURE: 0.5,
        RecoveryLeg.IDR: 0.25,
    }


def test_a_worker_that_failed_as_well_is_part_of_the_leg_of_the_one_that_served() -> None:
    recovery = RecoveryTime(0.0)
    recovery.reached(RecoveryLeg.DETECT, 1.0)
    recovery.reached(RecoveryLeg.CLAIM, 2.0, epoch=7)
    recovery.reached(RecoveryLeg.OPEN, 3.0, epoch=7)
    recovery.reached(RecoveryLeg.CLAIM, 5.0, epoch=8)
    recovery.reached(RecoveryLeg.PICTURE, 5.5, epoch=7)
    recovery.reached(RecoveryLeg.OPEN, 6.0, epoch=8)
    recovery.reached(RecoveryLeg.OPEN, 6.5, epoch=8)
    recovery.reached(RecoveryLeg.IDR, 7.0)
    legs = recovery.legs_s()
    assert (legs[RecoveryLeg.CLAIM], legs[RecoveryLeg.OPEN], legs[RecoveryLeg.IDR]) == (4.0, 1.0, 1.0)
    assert RecoveryLeg.PICTURE not in legs


@given(st.lists(st.tuples(st.sampled_from(SEEN), st.floats(0, 5), st.floats(0, 9)), max_size=9))
def test_legs_add_up_to_the_recovery(steps: list[tuple[RecoveryLeg, float, float]]) -> None:
    recovery, now_s = RecoveryTime(0.0), 0.0
    for leg, seconds, restore_s in sorted(steps, key=lambda step: SEEN.index(step[0])):
        if leg in recovery._ends_s:
            continue
        now_s += seconds
        recovery.reached(leg, now_s, epoch=0 if leg is RecoveryLeg.DETECT else 3, restore_s=restore_s)
    assert abs(sum(recovery.legs_s().values()) - now_s) < 1e-6
    assert all(seconds >= 0 for seconds in recovery.legs_s().values())
