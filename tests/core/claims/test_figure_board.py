"""What gateways measure, on one board: replaced as a whole, gone with its gateway, merged for the reader."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from genlock_core import store
from genlock_core.claims.figure_board import KEPT_S, POST_EVERY_S, FigureBoard, PostedFigures
from genlock_core.claims.keys import PREFIX

A, B = "default/a", "default/b"


@pytest.fixture(params=["redis", "cluster"])
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[store.Store]:
    """An empty Redis, and an empty Redis Cluster."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        nodes = request.getfixturevalue("redis_cluster")
        url = "redis+cluster://" + ",".join(node.removeprefix("redis://").removesuffix("/0") for node in nodes)
    client = store.connect(url)
    yield client
    await client.aclose()


@pytest.fixture
def board(anywhere: store.Store) -> FigureBoard:
    return FigureBoard(anywhere)


async def test_what_a_gateway_posts_is_read_back(board: FigureBoard) -> None:
    full = PostedFigures(
        viewers=3, publisher=True, steps=2, output_fps=16.0, miss_share=0.01, first_frame_ms=412.5, latency_ms=300.0,
        freezes=1, last_recovery_gap_ms=640.0,
    )  # fmt: skip
    await board.post("g0", {A: full, B: PostedFigures()})
    assert await board.read() == {A: full, B: PostedFigures()}


async def test_a_post_replaces_all_that_the_gateway_said_before(board: FigureBoard) -> None:
    await board.post("g0", {A: PostedFigures(viewers=1), B: PostedFigures(viewers=1)})
    await board.post("g0", {B: PostedFigures(viewers=2)})
    assert await board.read() == {B: PostedFigures(viewers=2)}
    await board.post("g0", {})
    assert await board.read() == {}


async def test_a_gateway_that_is_gone_leaves_nothing(board: FigureBoard, anywhere: store.Store) -> None:
    await board.post("g0", {A: PostedFigures(viewers=1)})
    await board.post("g1", {B: PostedFigures(viewers=1)})
    left_s = await cast("Any", anywhere.ttl(f"{PREFIX}figures:g0"))
    assert POST_EVERY_S < left_s <= KEPT_S
    await cast("Any", anywhere.delete(f"{PREFIX}figures:g0"))  # what its time to live does
    assert await board.read() == {B: PostedFigures(viewers=1)}
    assert await cast("Any", anywhere.smembers(f"{PREFIX}figures")) == {b"g1"}


async def test_viewers_of_all_gateways_add_up_and_the_rest_is_the_publishers(board: FigureBoard) -> None:
    await board.post("g0", {A: PostedFigures(viewers=9, output_fps=15.0, freezes=4)})
    await board.post("g1", {A: PostedFigures(viewers=1, publisher=True, output_fps=16.0, first_frame_ms=400.0)})
    await board.post("g2", {A: PostedFigures(viewers=5, output_fps=14.0)})
    merged = PostedFigures(viewers=15, publisher=True, output_fps=16.0, first_frame_ms=400.0, freezes=4)
    assert await board.read() == {A: merged}


async def test_without_a_publisher_the_gateway_with_the_most_viewers_speaks(board: FigureBoard) -> None:
    await board.post("g0", {A: PostedFigures(viewers=1, output_fps=1.0)})
    await board.post("g1", {A: PostedFigures(viewers=3, output_fps=3.0)})
    await board.post("g2", {A: PostedFigures(viewers=2, output_fps=2.0)})
    assert (await board.read())[A] == PostedFigures(viewers=6, output_fps=3.0)


@pytest.mark.parametrize(
    "nonsense", ["", "no JSON", "[]", "7", "null", "\xff", '{"viewers": "many"}', '{"steps": null}']
)
async def test_nonsense_is_left_out_and_the_rest_is_read(
    board: FigureBoard, anywhere: store.Store, nonsense: str, caplog: pytest.LogCaptureFixture
) -> None:
    await board.post("g0", {A: PostedFigures(viewers=1)})
    await cast("Any", anywhere.hset(f"{PREFIX}figures:g0", B, nonsense))
    assert await board.read() == {A: PostedFigures(viewers=1)}
    assert "cannot be read" in caplog.text


async def test_figures_of_another_release_are_read_as_far_as_they_are_known(
    board: FigureBoard, anywhere: store.Store
) -> None:
    await board.post("g0", {A: PostedFigures()})
    await cast("Any", anywhere.hset(f"{PREFIX}figures:g0", B, '{"viewers": 2, "mood": "good"}'))
    assert (await board.read())[B] == PostedFigures(viewers=2)
