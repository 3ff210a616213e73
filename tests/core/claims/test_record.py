"""The record as a hash and back."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.record import ControlValue, PoolChoice, SessionRecord, from_fields, to_fields
from genlock_core.spec.session import Approximation, Orientation, Phase, PictureFit, Resolution
from tests.core.claims import samples

names = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=12)
millis = st.integers(0, 2**52)


sites = st.lists(st.sampled_from(["*", "https://www.example.org", "http://[::1]:8000"]), max_size=3)


@st.composite
def records(draw: st.DrawFn) -> SessionRecord:
    owner = draw(st.none() | st.builds(WorkerIdentity, names, names))
    session = samples.record().session
    access = session.access.model_copy(update={"origins": tuple(draw(sites))})
    shape = {
        "orientation": draw(st.sampled_from([None, *Orientation])),
        "fit": draw(st.sampled_from(PictureFit)),
        "approximation": Approximation(min_frame_rate=draw(st.none() | st.integers(1, 60))),
    }
    orientation = draw(st.sampled_from([None, Orientation.LANDSCAPE, Orientation.PORTRAIT]))
    return replace(
        samples.record(),
        session=session.model_copy(update={"access": access, **shape}),
        pools=tuple(draw(st.lists(st.builds(PoolChoice, names, st.integers(1, 1_000)), max_size=3))),
        phase=draw(st.sampled_from(Phase)),
        epoch=draw(millis),
        owner=owner,
        address=draw(names) if owner else "",
        pool=draw(names) if owner else "",
        cost=draw(st.integers(1, 1_000)) if owner else 0,
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


def test_a_format_range_reads_both_its_ends_and_no_snapshot_at_all() -> None:
    formats = FormatRange(2, 3)
    assert [version for version in range(6) if formats.reads(version)] == [0, 2, 3]
