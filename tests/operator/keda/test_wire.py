"""KEDA's messages, against bytes that are put together by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_operator.keda.wire import Messages, MetricWanted, NoMessage, ScaledObject
from tests.operator.keda.requests import double, metric_wanted, reference, text, whole

MESSAGES = Messages()

words = st.text(st.characters(codec="utf-8"), max_size=20)
scaled_objects = st.builds(ScaledObject, words, words, st.dictionaries(words, words, max_size=4))


@given(scaled_objects)
def test_who_asks_is_read(asking: ScaledObject) -> None:
    assert MESSAGES.scaled_object(reference(asking)) == asking


@given(scaled_objects, words)
def test_which_metric_is_asked_for_is_read(asking: ScaledObject, metric: str) -> None:
    assert MESSAGES.metric_wanted(metric_wanted(asking, metric)) == MetricWanted(asking, metric)


@given(scaled_objects)
def test_fields_of_a_later_protocol_are_passed_over(asking: ScaledObject) -> None:
    assert MESSAGES.scaled_object(reference(asking) + text(900, "new") + whole(901, 7)) == asking


@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused_as_unreadable(data: bytes) -> None:
    for read in (MESSAGES.scaled_object, MESSAGES.metric_wanted):
        try:
            read(data)
        except NoMessage:
            continue


def test_what_is_cut_short_is_refused() -> None:
    with pytest.raises(NoMessage, match="ScaledObjectRef"):
        MESSAGES.scaled_object(reference(ScaledObject("follow", "live"))[:-1])
    with pytest.raises(NoMessage, match="ScaledObjectRef"):
        MESSAGES.scaled_object(text(1, b"\xff"))


def test_answers_lie_on_the_wire_as_keda_reads_them() -> None:
    assert MESSAGES.active(active=True) == whole(1, 1)
    assert MESSAGES.active(active=False) == b""
    assert MESSAGES.spec("workers", 1) == text(1, text(1, "workers") + whole(2, 1) + double(3, 1.0))
    assert MESSAGES.metric("workers", 300) == text(1, text(1, "workers") + whole(2, 300) + double(3, 300.0))
