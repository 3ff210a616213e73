"""Prompts to embeddings: cleaning, cutting, loading and forgetting the model, tokenizers from a folder."""

import gc
import threading
import weakref
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from genlock_worker.engines.diffusion.config import MODELS
from genlock_worker.engines.diffusion.errors import WrongCheckpoint
from genlock_worker.engines.diffusion.network.text_encoder import (
    TextModel,
    Umt5Encoder,
    byte_tokenizer,
    clean,
    read_tokenizer,
    token_ids,
)

TEXT = MODELS["tiny"].text


def tiny_model() -> TextModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        sizes = UMT5Config(
            vocab_size=TEXT.vocab,
            d_model=TEXT.dim,
            d_kv=TEXT.head_dim,
            d_ff=TEXT.ffn_dim,
            num_layers=TEXT.layers,
            num_heads=TEXT.heads,
            feed_forward_proj="gated-gelu",
        )
        return TextModel(UMT5EncoderModel(sizes).train(False), byte_tokenizer())


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        ("  a  watercolour\n\tcity ", "a watercolour city"),
        ("cats &amp;amp; dogs", "cats & dogs"),
        ("sÃ£o paulo", "são paulo"),
        ("", ""),
    ],
)
def test_prompts_are_cleaned_as_in_training(prompt: str, cleaned: str) -> None:
    assert clean(prompt) == cleaned


def test_a_prompt_ends_with_the_end_token_and_a_long_one_is_cut_before_it() -> None:
    assert token_ids(byte_tokenizer(), "ab", text_length=8).tolist() == [[100, 101, 1]]
    assert token_ids(byte_tokenizer(), "a" * 100, text_length=8).tolist() == [[100] * 7 + [1]]


def test_rows_are_those_of_the_tokens_and_the_padding_is_left_out() -> None:
    model = tiny_model()
    rows = Umt5Encoder(lambda: model, text_length=64, keep=True).encode("neon rain")
    padded = byte_tokenizer()("neon rain", padding="max_length", max_length=64, return_tensors="pt")
    with torch.no_grad():
        whole = model.encoder(input_ids=padded["input_ids"], attention_mask=padded["attention_mask"]).last_hidden_state
    assert rows.shape == (10, TEXT.dim)
    assert rows.dtype is torch.float32
    torch.testing.assert_close(rows, whole[0, :10], atol=1e-5, rtol=1e-5)


def test_even_no_prompt_has_a_row() -> None:
    assert Umt5Encoder(tiny_model, text_length=64, keep=True).encode("").shape == (1, TEXT.dim)


def test_the_model_is_loaded_for_the_first_prompt_and_kept() -> None:
    loads: list[TextModel] = []

    def load() -> TextModel:
        loads.append(tiny_model())
        return loads[-1]

    encoder = Umt5Encoder(load, text_length=64, keep=True)
    assert encoder.resident_bytes == 0
    assert torch.equal(encoder.encode("ink"), encoder.encode("ink"))
    assert len(loads) == 1
    assert encoder.resident_bytes > 4 * TEXT.vocab * TEXT.dim


def test_a_model_that_is_not_kept_is_gone_after_each_prompt() -> None:
    alive: list[weakref.ref[UMT5EncoderModel]] = []

    def load() -> TextModel:
        model = tiny_model()
        alive.append(weakref.ref(model.encoder))
        return model

    encoder = Umt5Encoder(load, text_length=64, keep=False)
    gc.disable()
    try:
        first = encoder.encode("oil")
        assert encoder.resident_bytes == 0
        assert alive[0]() is None
    finally:
        gc.enable()
    assert torch.equal(first, encoder.encode("oil"))
    assert len(alive) == 2


def test_a_load_that_failed_is_tried_again() -> None:
    attempts = [WrongCheckpoint(Path("umt5.pth"), "is empty")]

    def load() -> TextModel:
        if attempts:
            raise attempts.pop()
        return tiny_model()

    encoder = Umt5Encoder(load, text_length=64, keep=True)
    with pytest.raises(WrongCheckpoint, match="is empty"):
        encoder.encode("oil")
    assert encoder.encode("oil").shape == (4, TEXT.dim)


def test_prompts_of_several_threads_load_one_model() -> None:
    loads: list[int] = []

    def load() -> TextModel:
        loads.append(1)
        return tiny_model()

    encoder = Umt5Encoder(load, text_length=64, keep=True)
    rows: dict[str, torch.Tensor] = {}
    prompts = ["neon", "charcoal", "glass", "film"]
    threads = [threading.Thread(target=lambda p=prompt: rows.update({p: encoder.encode(p)})) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert all(torch.equal(rows[prompt], encoder.encode(prompt)) for prompt in prompts)


def test_a_tokenizer_is_read_from_its_folder(tmp_path: Path) -> None:
    words = Tokenizer(WordLevel({"[UNK]": 0, "neon": 1, "rain": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(tmp_path)  # type: ignore[no-untyped-call]
    assert token_ids(read_tokenizer(tmp_path), "neon  rain", text_length=8).tolist() == [[1, 2]]


@pytest.mark.parametrize("contents", [{}, {"tokenizer.json": "{"}, {"spiece.model": "no model"}])
def test_a_folder_without_a_tokenizer_is_an_error_that_names_it(tmp_path: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(WrongCheckpoint, match=str(tmp_path)):
        read_tokenizer(tmp_path)
