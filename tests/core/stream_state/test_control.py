"""The control stream: valid changes only, each once, in order, bounded."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from genlock_core import store
from genlock_core.store import Store
from genlock_core.stream_state import control, keys
from genlock_core.stream_state.control import FIRST_ID, ControlChange, ControlStream

SESSION = "default/demo"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Store]:
    client = store.connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def stream(redis: Store) -> ControlStream:
    return ControlStream(redis)


async def test_what_is_appended_is_read_in_order_behind_an_id(stream: ControlStream) -> None:
    first = await stream.append(SESSION, client="page-1", number=1, change=ControlChange(prompt="ink\nand käse 墨"))
    second = await stream.append(
        SESSION, client="page-1", number=2, change=ControlChange(steps=3, noise_scale=0.25, paused=False)
    )
    entries = await stream.read(SESSION)
    assert [(entry.id, entry.client, entry.number) for entry in entries] == [
        (first, "page-1", 1),
        (second, "page-1", 2),
    ]
    assert entries[0].change == ControlChange(prompt="ink\nand käse 墨")
    assert entries[1].change == ControlChange(steps=3, noise_scale=0.25, paused=False)
    assert [entry.id for entry in await stream.read(SESSION, after=first)] == [second]
    assert await stream.read(SESSION, after=second) == []


async def test_a_session_without_controls_is_empty(stream: ControlStream) -> None:
    assert await stream.read(SESSION) == []
    assert await stream.tail(SESSION, FIRST_ID, block_ms=1) == []


async def test_a_repeated_request_is_the_first_ones_entry_even_after_later_ones(stream: ControlStream) -> None:
    first = await stream.append(SESSION, client="c", number=1, change=ControlChange(steps=1))
    await stream.append(SESSION, client="c", number=2, change=ControlChange(steps=2))
    assert await stream.append(SESSION, client="c", number=1, change=ControlChange(steps=1)) == first
    other = await stream.append(SESSION, client="d", number=1, change=ControlChange(steps=4))
    assert other != first
    assert [entry.change.steps for entry in await stream.read(SESSION)] == [1, 2, 4]


async def test_tail_wakes_up_for_a_new_entry(stream: ControlStream, redis: Store) -> None:
    first = await stream.append(SESSION, client="c", number=1, change=ControlChange(steps=1))
    assert [entry.id for entry in await stream.tail(SESSION, FIRST_ID, block_ms=1_000)] == [first]
    assert await stream.tail(SESSION, first, block_ms=1) == []


async def test_stream_and_memory_of_requests_are_bounded(
    stream: ControlStream, redis: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REMEMBERED_REQUESTS", 20)
    monkeypatch.setattr(control, "STREAM_ENTRIES", 100)
    for number in range(400):
        last = await stream.append(SESSION, client="c", number=number, change=ControlChange(steps=1))
    assert await redis.xlen(keys.control(SESSION)) <= 100 + 100  # Redis trims nodes of 100 entries
    assert await redis.hlen(keys.control_ids(SESSION)) == 20
    assert await redis.zcard(keys.control_recent(SESSION)) == 20
    assert await stream.append(SESSION, client="c", number=399, change=ControlChange(steps=1)) == last


async def test_old_requests_are_forgotten(stream: ControlStream, redis: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await stream.append(SESSION, client="old", number=1, change=ControlChange(steps=1))
    monkeypatch.setattr(control, "REMEMBERED_MS", -1)
    await stream.append(SESSION, client="new", number=1, change=ControlChange(steps=1))
    assert await redis.hlen(keys.control_ids(SESSION)) == 0
    assert await redis.zcard(keys.control_recent(SESSION)) == 0


async def test_an_entry_of_another_version_does_not_stop_the_stream(stream: ControlStream, redis: Store) -> None:
    await redis.xadd(keys.control(SESSION), {"client": "c", "number": "1", "warp": "9"})
    await redis.xadd(keys.control(SESSION), {"nonsense": "x"})
    await redis.xadd(keys.control(SESSION), {"client": "c", "number": "x", "steps": "2"})
    await redis.xadd(keys.control(SESSION), {"client": "c", "number": "2", "steps": "99"})
    await redis.xadd(keys.control(SESSION), {"client": "c", "number": "3", "steps": "2", "warp": "9"})
    assert [(entry.number, entry.change) for entry in await stream.read(SESSION)] == [(3, ControlChange(steps=2))]


async def test_a_deleted_session_leaves_nothing(stream: ControlStream, redis: Store) -> None:
    await stream.append(SESSION, client="c", number=1, change=ControlChange(steps=1))
    await stream.delete(SESSION)
    assert await redis.dbsize() == 0


async def test_it_works_on_a_cluster(redis_cluster: list[str]) -> None:
    client = store.connect(redis_cluster[0].replace("redis://", "redis+cluster://"))
    stream = ControlStream(client)
    for number in range(8):
        session = f"default/demo-{number}"
        first = await stream.append(session, client="c", number=1, change=ControlChange(steps=2))
        assert await stream.append(session, client="c", number=1, change=ControlChange(steps=2)) == first
        assert [entry.id for entry in await stream.read(session)] == [first]
        assert [entry.id for entry in await stream.tail(session, FIRST_ID, block_ms=10)] == [first]
        await stream.delete(session)
        assert await stream.read(session) == []
    await client.aclose()


@pytest.mark.parametrize(("client", "number"), [("", 1), ("a:b", 1), ("x" * 65, 1), ("c", -1), ("c", 2**60)])
async def test_a_bad_client_or_number_is_refused(stream: ControlStream, client: str, number: int) -> None:
    with pytest.raises(ValidationError):
        await stream.append(SESSION, client=client, number=number, change=ControlChange(steps=1))


@pytest.mark.parametrize(
    "given_change",
    [
        {},
        {"prompt": ""},
        {"prompt": "  \n"},
        {"prompt": "bell\x07"},
        {"prompt": "x" * 2_001},
        {"steps": 0},
        {"steps": 5},
        {"steps": True},
        {"steps": 2.5},
        {"noiseScale": 0.05},
        {"noiseScale": 1.01},
        {"noiseScale": float("nan")},
        {"paused": "yes"},
        {"steps": 2, "speed": 3},
    ],
)
def test_a_change_that_is_none_is_refused(given_change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ControlChange.model_validate(given_change)


visible = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50).filter(
    lambda text: bool(text.strip())
)


@given(
    prompt=st.none() | visible,
    steps=st.none() | st.integers(1, 4),
    noise_scale=st.none() | st.floats(0.1, 1.0),
    paused=st.booleans(),
)
def test_fields_give_the_change_back(
    prompt: str | None, steps: int | None, noise_scale: float | None, paused: bool
) -> None:
    change = ControlChange(prompt=prompt, steps=steps, noise_scale=noise_scale, paused=paused)
    assert ControlChange.from_fields({**change.to_fields(), "ofANewerVersion": "x"}) == change
