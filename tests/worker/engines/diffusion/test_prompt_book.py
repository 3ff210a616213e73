"""The book of prompts: encode once, blend, forget; what was forgotten or came from elsewhere changes no stream."""

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from genlock_worker.engines.algorithm.blend import Weights, prompt_digest
from genlock_worker.engines.diffusion import prompt_book
from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.text_pool import TextKv, TextPool
from genlock_worker.engines.diffusion.prompt_book import Embedding, PromptBook

LENGTH, DIM = 6, 3
CONFIG = TransformerConfig(layers=1, heads=1, dim=DIM, ffn_dim=1, text_dim=DIM, text_length=LENGTH)
KV_BYTES = 2 * LENGTH * DIM * 4


class Scribe:
    """A TextEncoder whose rows are the prompt's first letters."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, prompt: str) -> Tensor:
        self.asked.append(prompt)
        return torch.tensor([[float(ord(letter)), 1.0, 0.1] for letter in prompt[:LENGTH]])


class Projection:
    """A transformer's `text_kv`: keys are the embedding, values its double."""

    def __init__(self) -> None:
        self.given: list[Tensor] = []

    def __call__(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        self.given.append(embedding)
        keys = embedding[None, :, None]
        return keys, 2 * keys


def book(
    encoder: Scribe | None = None,
    text_kv: Projection | None = None,
    *,
    texts: TextPool | None = None,
    kept_bytes: int = 10**6,
    dtype: torch.dtype = torch.float32,
) -> PromptBook:
    return PromptBook(
        encoder or Scribe(),
        text_kv or Projection(),
        texts or TextPool(CONFIG, device=torch.device("cpu"), dtype=torch.float32),
        text_length=LENGTH,
        text_dim=DIM,
        dtype=dtype,
        kept_bytes=kept_bytes,
    )


def prepared(*prompts: str) -> PromptBook:
    one = book()
    for prompt in prompts:
        one.prepare(prompt)
    return one


def alone(prompt: str) -> Weights:
    return ((prompt_digest(prompt), 1.0),)


def asked(one: PromptBook, mix: Weights) -> TextKv:
    """Keys and values for a session that has the book's embeddings."""
    return one.keys_values(mix, {digest: one.embedding(digest) for digest, _ in mix})


def test_a_prompt_is_encoded_once() -> None:
    scribe = Scribe()
    one = book(scribe)
    for prompt in ("ink", "oil", "ink"):
        one.prepare(prompt)
    assert scribe.asked == ["ink", "oil"]


def test_one_prompts_keys_are_those_of_its_rows_and_zeros() -> None:
    rows = asked(prepared("ink"), alone("ink")).keys[0, :, 0]
    assert rows[:3, 0].tolist() == [float(ord(letter)) for letter in "ink"]
    assert not rows[3:].any()


def test_a_blend_is_the_weighted_sum_of_embeddings_of_any_length() -> None:
    one = prepared("ink", "marble")
    ink, marble = (asked(one, alone(prompt)).keys for prompt in ("ink", "marble"))
    mixed = asked(one, ((prompt_digest("ink"), 0.25), (prompt_digest("marble"), 0.75))).keys
    torch.testing.assert_close(mixed, 0.25 * ink + 0.75 * marble)


def test_keys_are_computed_once_while_they_are_kept() -> None:
    projection = Projection()
    one = book(text_kv=projection)
    one.prepare("ink")
    assert asked(one, alone("ink")) is asked(one, alone("ink"))
    assert len(projection.given) == 1


def test_kept_keys_are_bounded_and_the_longest_unused_go_first() -> None:
    projection = Projection()
    one = book(text_kv=projection, kept_bytes=2 * KV_BYTES)
    for prompt in ("a", "b", "c"):
        one.prepare(prompt)
    for prompt in ("a", "b", "a", "c", "a"):
        asked(one, alone(prompt))
        assert one.bytes <= 2 * KV_BYTES
    assert len(projection.given) == 3
    asked(one, alone("b"))
    assert len(projection.given) == 4


def test_what_is_asked_for_is_kept_however_large() -> None:
    one = book(kept_bytes=1)
    one.prepare("ink")
    assert asked(one, alone("ink")) is asked(one, alone("ink"))
    assert one.bytes == KV_BYTES


def test_a_pool_that_is_full_lends_what_only_the_book_has() -> None:
    texts = TextPool(CONFIG, device=torch.device("cpu"), dtype=torch.float32)
    texts.reserve(2)
    one = book(texts=texts)
    for prompt in ("ink", "oil", "neon"):
        one.prepare(prompt)
    ink = asked(one, alone("ink"))
    numbers = ink.keys.clone()
    for prompt in ("oil", "neon"):
        asked(one, alone(prompt))
        assert torch.equal(ink.keys, numbers)
    oil = asked(one, alone("oil"))
    with pytest.raises(torch.OutOfMemoryError):
        asked(one, alone("neon"))
    del oil
    assert asked(one, alone("neon")).keys.any()


def test_the_book_forgets_and_those_who_kept_an_embedding_miss_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_book, "EMBEDDINGS", 2)
    one = prepared("ink", "oil")
    kept = {prompt_digest("oil"): one.embedding(prompt_digest("oil"))}
    before = one.keys_values(alone("oil"), kept)
    for prompt in ("neon", "film"):
        one.prepare(prompt)
    with pytest.raises(KeyError, match="prepare the prompt"):
        one.embedding(prompt_digest("oil"))
    assert one.keys_values(alone("oil"), kept) is before


def test_the_embedding_that_was_asked_for_last_is_forgotten_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_book, "EMBEDDINGS", 2)
    one = prepared("ink", "oil")
    one.embedding(prompt_digest("ink"))
    one.prepare("neon")
    one.embedding(prompt_digest("ink"))
    with pytest.raises(KeyError):
        one.embedding(prompt_digest("oil"))


def test_an_embedding_that_one_session_brings_is_given_to_no_other() -> None:
    one = prepared("ink")
    before = asked(one, alone("ink"))
    brought = {prompt_digest("ink"): Embedding(torch.ones(2, DIM))}
    assert not torch.equal(one.keys_values(alone("ink"), brought).keys, before.keys)
    assert asked(one, alone("ink")) is before
    one.prepare("ink")
    assert asked(one, alone("ink")) is before


def test_the_same_numbers_have_the_same_keys_whoever_brings_them() -> None:
    one = prepared("ink")
    digest = prompt_digest("ink")
    brought = {digest: Embedding(one.embedding(digest).rows.clone())}
    assert one.keys_values(alone("ink"), brought) is asked(one, alone("ink"))


def test_the_same_numbers_in_another_shape_are_another_embedding() -> None:
    flat = torch.arange(6.0)
    assert Embedding(flat.view(2, 3)).fingerprint != Embedding(flat.view(1, 6)).fingerprint


def test_what_the_encoder_changes_later_is_not_the_books() -> None:
    mine = torch.ones(2, DIM)

    class Reusing(Scribe):
        def encode(self, prompt: str) -> Tensor:
            return mine

    one = book(Reusing())
    one.prepare("ink")
    mine.zero_()
    assert one.embedding(prompt_digest("ink")).rows.all()


def test_embeddings_are_rounded_as_snapshots_round_them() -> None:
    one = book(dtype=torch.bfloat16)
    one.prepare("ink")
    rows = one.embedding(prompt_digest("ink")).rows
    assert rows.dtype is torch.float32
    assert torch.equal(rows, rows.bfloat16().float())
    assert float(rows[0, 2]) != pytest.approx(0.1, abs=1e-6)


@given(st.lists(st.sampled_from(["a", "bc", "def", "ghij"]), max_size=12), st.sampled_from([1, KV_BYTES, 10**6]))
def test_keys_are_the_same_whatever_was_asked_before(earlier: list[str], kept_bytes: int) -> None:
    one = book(kept_bytes=kept_bytes)
    mix = ((prompt_digest("bc"), 0.5), (prompt_digest("ghij"), 0.5))
    for prompt in ("bc", "ghij", *earlier):
        one.prepare(prompt)
        asked(one, alone(prompt))
    fresh = prepared("bc", "ghij")
    assert torch.equal(asked(one, mix).values, asked(fresh, mix).values)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (torch.zeros(2, DIM + 1), "must be"),
        (torch.zeros(LENGTH + 1, DIM), "must be"),
        (torch.zeros(0, DIM), "must be"),
        (torch.zeros(DIM), "must be"),
        (torch.full((2, DIM), float("nan")), "not finite"),
    ],
)
def test_what_is_no_embedding_is_refused(rows: Tensor, reason: str) -> None:
    class Wrong(Scribe):
        def encode(self, prompt: str) -> Tensor:
            return rows

    one = book(Wrong())
    with pytest.raises(ValueError, match=reason):
        one.prepare("ink")
    with pytest.raises(KeyError):
        one.embedding(prompt_digest("ink"))


def test_a_prompt_that_two_threads_prepare_is_encoded_once() -> None:
    scribe = Scribe()
    one = book(scribe)
    threads = [threading.Thread(target=one.prepare, args=("ink",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scribe.asked == ["ink"]
