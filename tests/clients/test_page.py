"""docs/clients.md tells of the clients that the suite runs, and of no others."""

import dataclasses

from tests.clients.catalogue import CLIENTS
from tests.clients.page import PAGE, PICTURES, row_of, told_in
from tests.clients.proof import Way

MAX_PICTURE_BYTES = 10_000


def test_the_page_lists_what_the_suite_runs_with_the_same_settings() -> None:
    expected = [row_of(client) for way in (Way.PUBLISH, Way.WATCH) for client in CLIENTS if client.way is way]
    assert told_in(PAGE.read_text()) == expected


def test_a_client_with_other_settings_would_be_noticed() -> None:
    client = dataclasses.replace(CLIENTS[0], settings="none")
    assert row_of(client) not in told_in(PAGE.read_text())


def test_each_client_has_one_small_picture() -> None:
    sizes = {path.stem: path.stat().st_size for path in PICTURES.iterdir()}
    assert sizes.keys() == {client.id for client in CLIENTS}
    assert max(sizes.values()) < MAX_PICTURE_BYTES


def test_a_client_goes_each_way_once() -> None:
    ids = [client.id for client in CLIENTS]
    assert len(ids) == len(set(ids))
