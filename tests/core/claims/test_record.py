"""The record as a hash and back."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.record import (
    ControlValue,
    Granted,
    HalfRate,
    LevelLimit,
    PoolChoice,
    SessionRecord,
    from_fields,
    to_fields,
)
from genlock_core.spec.session import Approximation, Orientation, Phase, PictureFit, Resolution
from tests.core.claims import samples

names = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=12)
millis = st.integers(0, 2**52)


sites = st.lists(st.sampled_from(["*", "https://www.example.org", "http://[::1]:8000"]), max_size=3)


costs = st.integers(1, 1_000)
qualities = st.floats(0, 1)
choices = st.builds(
    PoolChoice,
    pool=names,
    cost=costs,
    levels=st.lists(costs, max_size=4).map(tuple),
    qualities=st.lists(qualities, max_size=4).map(tuple),
    half=st.none() | st.builds(HalfRate, st.integers(1, 4), costs, st.none() | qualities),
    model=st.none() | names,
)
every = st.sampled_from([1, 2])


@st.composite
def records(draw: st.DrawFn) -> SessionRecord:
    owner = draw(st.none() | st.builds(WorkerIdentity, names, names))
    session = samples.record().session
    access = session.access.model_copy(update={"origins": tuple(draw(sites))})
    shape = {
        "orientation": draw(st.sampled_from([None, *Orientation])),
        "fit": draw(st.sampled_from(PictureFit)),
        "approximation": Approximation(
            min_frame_rate=draw(st.none() | st.integers(1, 60)),
            models=tuple(draw(st.lists(st.sampled_from(["tiny", "wan2.1-14b"]), unique=True))),
        ),
    }
    orientation = draw(st.sampled_from([None, Orientation.LANDSCAPE, Orientation.PORTRAIT]))
    return replace(
        samples.record(),
        session=session.model_copy(update={"access": access, **shape}),
        pools=tuple(sorted(draw(st.lists(choices, max_size=3)), key=lambda choice: choice.model is not None)),
        phase=draw(st.sampled_from(Phase)),
        epoch=draw(millis),
        owner=owner,
        address=draw(names) if owner else "",
        pool=draw(names) if owner else "",
        cost=draw(st.integers(1, 1_000)) if owner else 0,
        granted=draw(st.none() | st.builds(Granted, st.integers(1, 4), millis, millis, every)),
        limit=draw(st.none() | st.builds(LevelLimit, st.integers(1, 4), every, millis)),
        below_since_ms=draw(millis),
        stand_in=draw(st.none() | names),
        snapshot_format=draw(st.integers(0, 9)),
        control=draw(st.dictionaries(names, st.builds(ControlValue, st.text(max_size=20), names), max_size=3)),
        key_ids=tuple(draw(st.lists(names, max_size=2))),
        created_ms=draw(millis),
        active_ms=draw(millis),
        finished_ms=draw(millis),
        reason=draw(st.text(max_size=20)),
        uid=draw(st.text(max_size=36)),
        orientation=orientation,
        orientation_run=draw(millis) if orientation else 0,
    )


@given(records())
def test_a_record_survives_the_way_through_redis(record: SessionRecord) -> None:
    assert from_fields(to_fields(record)) == record


def test_what_is_made_is_turned_only_where_the_manifest_says_auto() -> None:
    fixed = samples.record().settled(Orientation.PORTRAIT, 3)
    assert fixed.resolution == Resolution(width=832, height=480)
    auto = replace(fixed, session=fixed.session.model_copy(update={"orientation": Orientation.AUTO}))
    assert auto.resolution == auto.made.resolution == Resolution(width=480, height=832)
    assert auto.settled(None, 0).resolution == Resolution(width=832, height=480)


def test_a_record_that_turns_nothing_says_nothing_that_an_earlier_release_does_not_know() -> None:
    fields = to_fields(samples.record())
    assert not {"orientation", "orientation_run"} & fields.keys()


def test_the_release_before_reads_a_session_that_is_turned_and_fitted_and_does_neither() -> None:
    shaped = samples.record().session.model_copy(update={"orientation": Orientation.AUTO, "fit": PictureFit.FIT})
    fields = to_fields(replace(samples.record(), session=shaped))
    assert not {"orientation", "fit"} & json.loads(fields["spec"]).keys()
    del fields["shape"]
    kept = from_fields(fields).session
    assert (kept.orientation, kept.fit) == (None, PictureFit.CROP)


def test_the_release_before_reads_a_session_that_may_be_halved_and_leaves_out_no_frame() -> None:
    session = samples.record().session.model_copy(update={"approximation": Approximation(min_frame_rate=8)})
    assert session.may_halve
    fields = to_fields(replace(samples.record(), session=session))
    assert json.loads(fields["spec"])["approximation"] == {"policy": "Adaptive", "minSteps": 1}
    assert from_fields(fields).session.may_halve
    del fields["shape"]
    assert not from_fields(fields).session.may_halve


def test_the_release_before_reads_a_session_that_has_models_that_may_stand_in() -> None:
    session = samples.record().session.model_copy(update={"approximation": Approximation(models=("tiny",))})
    fields = to_fields(replace(samples.record(), session=session))
    assert json.loads(fields["spec"])["approximation"] == {"policy": "Adaptive", "minSteps": 1}
    assert from_fields(fields).session == session
    fields["shape"] = json.dumps({"fit": "crop"})  # as the release before writes it
    assert from_fields(fields).session.approximation.models == ()


def test_a_format_range_reads_both_its_ends_and_no_snapshot_at_all() -> None:
    formats = FormatRange(2, 3)
    assert [version for version in range(6) if formats.reads(version)] == [0, 2, 3]


# -- levels ------------------------------------------------------------------------------------------------------------

HALF = HalfRate(2, 150, 0.3)
CHOICE = PoolChoice("a", 900, (300, 500, 900), (0.5, 0.7, 1.0), HALF)


def test_what_a_level_costs_is_in_the_list_of_the_pool() -> None:
    assert [CHOICE.cost_at(steps) for steps in (1, 2, 3, 4)] == [300, 500, 900, 900]
    assert CHOICE.cost_at(2, every=2) == 150
    assert replace(CHOICE, half=None).cost_at(2, every=2) == 500


def test_the_release_before_reads_costs_and_takes_no_pool_of_a_model_that_stands_in() -> None:
    """It goes by `pool`, `cost` and `levels` of all that is in `pools`."""
    fields = to_fields(replace(samples.record(), pools=(CHOICE, replace(CHOICE, pool="small", model="tiny"))))
    assert [choice["pool"] for choice in json.loads(fields["pools"])] == ["a"]
    del fields["stand_ins"]
    assert from_fields(fields).pools == (CHOICE,)


def test_a_level_list_of_the_release_before_has_no_qualities_no_half_and_the_sessions_own_model() -> None:
    assert PoolChoice.from_json({"pool": "a", "cost": 5, "levels": [1, 5]}) == PoolChoice("a", 5, (1, 5))


def test_a_grant_of_the_release_before_is_one_of_every_frame_though_the_one_before_it_was_not() -> None:
    fields = to_fields(replace(samples.record(), granted=Granted(2, 7, 0, every=2)))
    assert from_fields(fields).granted == Granted(2, 7, 0, every=2)
    fields |= {"granted": "4", "granted_number": "8"}
    assert from_fields(fields).granted == Granted(4, 8, 0)


def test_a_limit_ends_with_its_claim() -> None:
    limited = replace(samples.record(), epoch=5, limit=LevelLimit(1, 1, 10))
    fields = to_fields(limited)
    assert from_fields(fields).limit == limited.limit
    assert fields["limit"] == "5 1 1 busy 10", "the release before reads five words"
    fields["epoch"] = "6"  # any release has claimed it anew
    assert from_fields(fields).limit is None


def test_a_session_runs_with_the_model_that_it_found_unless_the_release_before_has_claimed_its_own() -> None:
    own, other = PoolChoice("a", 400), PoolChoice("b", 100, model="tiny")
    record = replace(samples.record(), pools=(own, other))
    assert record.model == record.session.model
    stands_in = replace(record, stand_in="tiny", owner=WorkerIdentity("w", "1"), pool="b")
    assert stands_in.model == "tiny"
    assert replace(stands_in, owner=None, pool="").model == "tiny"
    assert replace(stands_in, pool="a").model == record.session.model


def test_a_claim_looks_in_the_pools_of_the_model_that_the_session_runs_with() -> None:
    own, other = PoolChoice("a", 400), PoolChoice("b", 100, model="tiny")
    record = replace(samples.record(), pools=(own, other))
    assert record.choices == (own,)
    assert replace(record, stand_in="tiny").choices == (other,)
    assert replace(record, stand_in="named no more").choices == (own,)


def test_the_least_that_a_session_costs_is_at_the_lowest_level_that_it_may_have() -> None:
    record = replace(samples.record("demo", steps=3), pools=(CHOICE,))
    assert record.least_cost_in(CHOICE, halves=False) == 300
    assert record.least_cost_in(CHOICE, halves=True) == 150
    assert replace(samples.record("demo", steps=3, adaptive=False)).least_cost_in(CHOICE, halves=True) == 900
    assert replace(samples.record("demo", steps=1)).least_cost_in(CHOICE, halves=True) == 300
