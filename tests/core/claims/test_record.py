"""The record as a hash and back."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from genlock_core.claims.identity import FormatRange, WorkerIdentity
from genlock_core.claims.record import ControlValue, PoolChoice, SessionRecord, from_fields, to_fields
from genlock_core.spec.session import Phase
from tests.core.claims import samples

names = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=12)
millis = st.integers(0, 2**52)


sites = st.lists(st.sampled_from(["*", "https://www.example.org", "http://[::1]:8000"]), max_size=3)


@st.composite
def records(draw: st.DrawFn) -> SessionRecord:
    owner = draw(st.none() | st.builds(WorkerIdentity, names, names))
    session = samples.record().session
    access = session.access.model_copy(update={"origins": tuple(draw(sites))})
    return replace(
        samples.record(),
        session=session.model_copy(update={"access": access}),
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
    )


@given(records())
def test_a_record_survives_the_way_through_redis(record: SessionRecord) -> None:
    assert from_fields(to_fields(record)) == record


def test_a_format_range_reads_both_its_ends_and_no_snapshot_at_all() -> None:
    formats = FormatRange(2, 3)
    assert [version for version in range(6) if formats.reads(version)] == [0, 2, 3]
