"""The table as the pages read it."""

import json

from genlock_core.situation.document import as_document
from genlock_core.situation.states import OfferedAct, SessionState
from genlock_core.situation.table import AT_PAGE, PUBLISHERS


def test_the_document_has_every_row_in_order_and_is_json() -> None:
    document = json.loads(json.dumps(as_document()))
    assert [row["state"] for row in document["states"]] == [state.value for state in SessionState]
    assert {row["state"] for row in document["states"] if row["atPage"]} == {state.value for state in AT_PAGE}
    assert set(document["offers"]) == {offer.value for offer in OfferedAct}
    assert document["publishers"] == sorted(offer.value for offer in PUBLISHERS)


def test_what_a_page_has_to_fill_in_are_words_that_it_knows() -> None:
    for row in as_document()["states"]:
        if row["atPage"]:
            words = (row["headline"] + row["detail"]).replace("{session}", "").replace("{progress}", "")
            assert not set("{}") & set(words), row["state"]
