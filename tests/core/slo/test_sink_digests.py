"""Digests of sinks are compared where both sides have them and mean the same by them, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genlock_core.slo.report import StreamReport
from genlock_core.slo.sink_digests import MAX_ROWS, SinkDigests, lost_rows

A, B, C = "a" * 64, "b" * 64, "c" * 64
rows = st.lists(st.sampled_from(["", A, B, C]), max_size=MAX_ROWS).map(tuple)


def digests(*of_rows: str, version: int = 1) -> SinkDigests:
    return SinkDigests(version=version, rows=of_rows)


def test_a_row_whose_sinks_are_others_is_lost() -> None:
    assert lost_rows(digests(A, B, C), digests(A, C, C)) == (1,)
    assert lost_rows(digests(A, B, C), digests(A, B, C)) == ()


def test_rows_that_one_side_does_not_have_are_not_compared() -> None:
    assert lost_rows(digests(A, B), digests(A)) == ()
    assert lost_rows(digests(A), digests(A, B)) == ()
    assert lost_rows(digests(A, ""), digests(A, B)) == ()
    assert lost_rows(digests(A, B), digests(A, "")) == ()


def test_digests_of_different_rules_are_not_compared() -> None:
    assert lost_rows(digests(A), digests(B, version=2)) == ()


@given(rows, rows)
def test_only_rows_of_both_sides_are_told(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    lost = lost_rows(digests(*before), digests(*after))
    assert lost == lost_rows(digests(*after), digests(*before))
    assert all(before[row] and after[row] and before[row] != after[row] for row in lost)


def test_a_report_with_digests_of_a_newer_rule_is_read() -> None:
    text = b'{"chunk": 3, "sinkDigests": {"version": 9, "rows": ["' + b"f" * 128 + b'"], "colour": 1}}'
    report = StreamReport.parse(text)
    assert report.sink_digests == SinkDigests(version=9, rows=("f" * 128,))


@pytest.mark.parametrize(
    "bad", [{"version": 0, "rows": []}, {"version": 1, "rows": [A] * (MAX_ROWS + 1)}, {"rows": []}]
)
def test_what_is_no_digests_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SinkDigests.model_validate(bad)
