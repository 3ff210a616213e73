"""Snapshots made to do harm: refused before they cost memory or time, and without a trace in what others get."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from genlock_worker.engines.algorithm.blend import prompt_digest
from genlock_worker.engines.contract import Change, EngineFailure, EngineState, Row
from genlock_worker.engines.diffusion.config import StreamOptions
from genlock_worker.engines.diffusion.streaming import kept
from genlock_worker.engines.diffusion.streaming.kept import compress, jpeg_size
from tests.worker.engines.diffusion.snapshots.test_state import BUSY, Mutation, changed, small_engine, with_block
from tests.worker.engines.diffusion.streams import (
    HEIGHT,
    PROMPT,
    WIDTH,
    BlockVae,
    chunk,
    engine,
    play,
    settings,
    stored,
)

PICTURE = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
LATENT = np.asarray(BUSY.blocks["r0.f2"]["latent"], np.float32)
NEON = f"p.{prompt_digest('neon')[:16]}"
HUGE = np.float32(3e38)


def coded(suffix: str, *parameters: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.imencode(suffix, PICTURE, parameters)[1], np.uint8).reshape(-1)


def claiming(side: int) -> NDArray[np.uint8]:
    """A JPEG whose frame header says that it is `side` x `side`."""
    data = bytearray(coded(".jpg").tobytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = side.to_bytes(2, "big") * 2
    return np.frombuffer(bytes(data), np.uint8)


def with_two_headers() -> NDArray[np.uint8]:
    """A JPEG with a second frame header, of a huge picture, before its scan."""
    data, huge = coded(".jpg").tobytes(), claiming(60_000).tobytes()
    header, scan = huge.index(b"\xff\xc0"), data.index(b"\xff\xda")
    return np.frombuffer(data[:scan] + huge[header : header + 19] + data[scan:], np.uint8)


def refuse(damaged: EngineState, reason: str) -> None:
    one = small_engine()
    with pytest.raises(EngineFailure, match=reason):
        one.restore("s", settings(), damaged)
    assert one.budget.taken == {}
    one.open("s", settings())


@pytest.mark.parametrize(
    "data",
    [
        claiming(60_000),
        claiming(0),
        with_two_headers(),
        coded(".png"),
        coded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        coded(".jpg")[:200],
        np.zeros(0, np.uint8),
        np.full(2**20, 0xFF, np.uint8),
    ],
)
def test_a_picture_that_claims_to_be_another_is_never_given_to_the_decoder(
    data: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(cv2, "imdecode", never)
    refuse(with_block(BUSY, "i.c5", frame3=data), "input frames are not JPEGs")


def test_more_pictures_than_a_chunk_has_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "expand", None)
    many = {f"frame{number}": coded(".jpg") for number in range(4000)}
    refuse(replace(BUSY, blocks={**BUSY.blocks, "i.c5": many}), "4000 input frames, not 4")


@pytest.mark.parametrize("shape", [(64, 64, 3), (480, 832, 3), (720, 80, 3)])
def test_the_size_of_ones_own_jpegs_is_known_without_decoding(shape: tuple[int, int, int]) -> None:
    data = compress(np.full((1, *shape), 90, np.uint8))[0]
    assert jpeg_size(data.tobytes()) == shape[:2]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda s: with_block(s, NEON, embedding=np.zeros((65, 24), np.float32)), "an embedding is"),
        (lambda s: with_block(s, NEON, embedding=np.zeros((0, 24), np.float32)), "an embedding is"),
        (lambda s: with_block(s, NEON, embedding=np.zeros((3, 25), np.float32)), "an embedding is"),
        (lambda s: with_block(s, NEON, embedding=np.zeros(24, np.float32)), "an embedding is"),
        (lambda s: with_block(s, NEON, embedding=np.zeros((2**20, 24), np.float32)), "an embedding is"),
        (lambda s: with_block(s, NEON, embedding=np.full((3, 24), np.nan, np.float32)), "not finite"),
        (lambda s: with_block(s, NEON, digest=np.zeros(32, np.uint8)), "another one's"),
        (lambda s: with_block(s, NEON, embedding=np.full((3, 24), HUGE)), "not finite"),
        (lambda s: with_block(s, "r0.f2", latent=np.full(LATENT.shape, HUGE)), "rings .* not finite"),
        (lambda s: with_block(s, "o.c5", latents=np.full((1, *LATENT.shape), np.nan, np.float32)), "not finite"),
        (lambda s: replace(s, head={k: v * np.float32("inf") for k, v in s.head.items()}), "not finite"),
        (lambda s: with_block(s, "r0.f2", weights=np.array([0.5])), "sum to 1"),
        (lambda s: with_block(s, "r0.f2", weights=np.array([np.nan])), "sum to 1"),
        (lambda s: with_block(s, "r0.f2", prompts=np.zeros(32 * 9, np.uint8), weights=np.full(9, 1 / 9)), "prompts"),
        (lambda s: with_block(s, "r0.f2", prompts=np.zeros(33, np.uint8)), "reshape"),
        (lambda s: with_block(s, "r0.f2", prompts=np.zeros(0, np.uint8), weights=np.zeros(0)), "sum to 1"),
    ],
)
def test_arrays_that_are_no_part_of_a_session_are_refused(damage: Mutation, reason: str) -> None:
    refuse(damage(BUSY), reason)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("prompts", [[prompt_digest("neon"), 0.5]], "sum to 1"),
        ("prompts", [[prompt_digest("neon"), 2.0], [prompt_digest(PROMPT), -1.0]], "prompts"),
        ("in_flight.0.attributes.prompts", [[prompt_digest("neon"), 0.9]], "sum to 1"),
        ("blend.start", [], "blend.start"),
        ("blend.start", [[prompt_digest("neon"), 0.125]] * 9, "blend.start"),
        ("blend.target", "../" * 21 + "x", "blend.target"),
        ("wanted.prompt", "G" * 64, "wanted.prompt"),
        ("wanted.prompt", "a" * 64 + "\n", "wanted.prompt"),
        ("embeddings", ["0" * 64] * 65, "embeddings"),
        ("wanted.steps", 0, "wanted.steps"),
        ("wanted.noise_scale", 1.5, "noise_scale"),
        ("rows", [{"slots": [], "opening": [], "replaced_in": None}] * 6, "rows"),
        ("rows.0.slots.0", "r0.f-1", "no name of a stored frame"),
        ("rows.0.slots.0", "r٣.f0", "says that it is another one|is missing"),
        ("rows.0.slots.0", "r0.f" + "9" * 13, "no name of a stored frame"),
        ("rows.0.slots", ["r0.f0"] * 64, "ring after frame|cannot be in slot"),
        ("rows.0.replaced_in", -1, "replaced_in"),
        ("in_flight.0.attributes.timesteps", [700.0] * 6, "timesteps"),
        ("in_flight.0.attributes.timesteps", [700.0] * 5, "rows"),
        ("in_flight.0.attributes.steps_before", 5, "rows"),
        ("in_flight.0.done", -1, "done"),
        ("in_flight.0.attributes.level", [0.5, 1001], "level"),
        ("fed_rows", 5, "rows"),
        ("inputs", [-1], "inputs"),
        ("outputs", list(range(65)), "outputs"),
        ("scale", -0.5, "scale"),
    ],
)
def test_facts_beyond_their_bounds_are_refused(path: str, value: object, reason: str) -> None:
    refuse(changed(BUSY, path, value), reason)


def test_a_frame_that_has_replaced_two_sinks_is_refused() -> None:
    newest = BUSY.attributes["rows"][0]["slots"][-1]  # type: ignore[index]
    two = changed(changed(BUSY, "rows.0.slots.0", newest), "rows.0.slots.1", newest)
    refuse(two, "replaced several sinks")


def test_a_chunk_that_has_overtaken_the_first_is_refused() -> None:
    one = small_engine()
    one.open("s", settings(steps=3))
    for index in range(2):
        one.feed("s", chunk(index))
    one.run([Row("s", 0, 0)])
    state = stored(one.snapshot("s"))
    small_engine().restore("s", settings(), state)
    refuse(changed(state, "in_flight.1.done", 1), "overtook")


def test_facts_without_end_are_refused() -> None:
    nested: Any = "deep"
    for _ in range(900):
        nested = [nested]
    refuse(replace(BUSY, attributes={**BUSY.attributes, "identity": {"model": nested}}), "restored")
    many = tuple(replace(BUSY.in_flight[0], index=index) for index in range(17))
    refuse(replace(BUSY, in_flight=many), "17 chunks in flight")


def test_a_chunk_number_beyond_all_bounds_is_refused() -> None:
    for number in (-2, 2**40, 2**70):
        refuse(replace(BUSY, chunk=number), "restored")


def test_only_as_much_as_is_needed_is_read_of_what_primes_the_vae() -> None:
    generous = engine(options=StreamOptions(sink_threshold=None, primed_chunks=9), vae=BlockVae())
    generous.open("s", settings())
    expected = play(generous, "s", range(12))
    state = stored(generous.snapshot("s"))
    assert len([name for name in state.blocks if name.startswith("i.")]) == 9
    unread = {f"{kind}.c{number}" for kind in "io" for number in range(8)}
    one = engine(vae=BlockVae())
    one.restore("s", settings(), replace(state, blocks={k: v for k, v in state.blocks.items() if k not in unread}))
    names = set(one.snapshot("s").blocks)
    assert {name for name in names if name[0] in "io"} == {
        f"{kind}.c{number}" for kind in "io" for number in range(8, 12)
    }
    assert len(play(one, "s", range(12, 13))[0]) == len(expected[-1])


def forged(state: EngineState, prompt: str) -> EngineState:
    """The state with numbers of somebody's choice in the place of a prompt's embedding."""
    return with_block(state, f"p.{prompt_digest(prompt)[:16]}", embedding=np.ones((3, 24), np.float32))


def test_the_embedding_of_a_restored_session_is_given_to_no_other() -> None:
    plain = engine(vae=BlockVae())
    plain.open("s", settings())
    expected = play(plain, "s", range(5))
    one = engine(vae=BlockVae())
    one.open("before", settings())
    one.restore("forged", settings(), forged(stored(plain.snapshot("s")), PROMPT))
    play(one, "forged", range(5, 6))
    one.open("after", settings())
    for name in ("before", "after"):
        assert all(np.array_equal(a, b) for a, b in zip(play(one, name, range(5)), expected, strict=True))
    honest, theirs = one._session("after"), one._session("forged")
    assert not np.array_equal(honest.keys_values(honest.prompts).keys, theirs.keys_values(theirs.prompts).keys)


def test_a_session_keeps_its_own_embedding_when_it_asks_for_the_prompt_again() -> None:
    plain = engine(vae=BlockVae())
    plain.open("s", settings())
    play(plain, "s", range(5))
    state = forged(stored(plain.snapshot("s")), PROMPT)
    one = engine(vae=BlockVae())
    one.open("other", settings())
    one.restore("s", settings(), state)
    play(one, "s", range(5, 12), changes={6: Change(prompt="neon"), 7: Change(prompt=PROMPT)})
    name = f"p.{prompt_digest(PROMPT)[:16]}"
    again = one.snapshot("s").blocks[name]["embedding"]
    assert again.tobytes() == state.blocks[name]["embedding"].tobytes()
