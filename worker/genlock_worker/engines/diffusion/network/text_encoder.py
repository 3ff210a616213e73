"""Prompts to embeddings: UMT5 through transformers, loaded when it is needed, on a device of its own.

The encoder of the large models is 5.7 billion parameters (11.4 GB in bf16), four times the 1.3B transformer, and works
for a moment per prompt. So it may lie on the CPU or on another GPU, and its memory may be given back after each prompt.
"""

import html
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import ftfy
import torch
from torch import Tensor
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase, UMT5EncoderModel

from genlock_worker.engines.diffusion.errors import WrongCheckpoint


class TextEncoder(Protocol):
    """From a prompt to what the transformer is told."""

    def encode(self, prompt: str) -> Tensor:
        """The rows of the prompt's tokens, (n, text_dim) float32 on the CPU, 1 <= n <= text_length; any thread.

        The rows up to text_length, which the caller adds, are zeros.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TextModel:
    """A UMT5 encoder with its weights, on its device, and the tokenizer that it was trained with."""

    encoder: UMT5EncoderModel
    tokenizer: PreTrainedTokenizerBase


class Umt5Encoder:
    """A TextEncoder that loads its model for the first prompt. Thread-safe: one prompt is encoded at a time.

    `load` gives the model on the device and in the dtype that it shall have; what it raises comes out of `encode`.
    Between prompts the model stays (`keep`) or is forgotten.
    """

    def __init__(self, load: Callable[[], TextModel], *, text_length: int, keep: bool) -> None:
        self._load = load
        self._text_length = text_length
        self._keep = keep
        self._lock = threading.Lock()
        self._model: TextModel | None = None

    @property
    def resident_bytes(self) -> int:
        """Bytes of the weights that are loaded now."""
        model = self._model
        return sum(p.nbytes for p in model.encoder.parameters()) if model else 0

    @torch.no_grad()
    def encode(self, prompt: str) -> Tensor:
        """As `TextEncoder.encode`. May take seconds, where the model has to be loaded; raises what loading raises.

        The padding is masked from attention and its rows are zeroed, so it is left out altogether: the same rows for
        a fraction of the work (StreamDiffusionV2 encodes all 512).
        """
        with self._lock:
            model = self._model or self._load()
            ids = token_ids(model.tokenizer, prompt, text_length=self._text_length).to(model.encoder.device)
            hidden: Tensor = model.encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            rows = hidden[0].float().cpu()
            self._model = model if self._keep else None
            device = model.encoder.device
            del model, hidden
            if not self._keep and device.type == "cuda":
                torch.cuda.empty_cache()
        return rows


def clean(prompt: str) -> str:
    """The text that Wan was trained on: broken encodings mended, HTML entities resolved, single spaces."""
    text = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", text).strip()


def token_ids(tokenizer: PreTrainedTokenizerBase, prompt: str, *, text_length: int) -> Tensor:
    """The ids of the cleaned prompt with its end token, cut to `text_length`: (1, n) int64."""
    ids: Tensor = tokenizer(
        clean(prompt), truncation=True, max_length=text_length, add_special_tokens=True, return_tensors="pt"
    )["input_ids"]
    return ids


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer whose files lie in `folder` (`google/umt5-xxl` of Wan's base folders, `tokenizer` of diffusers').

    Raises WrongCheckpoint. Nothing is fetched.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise WrongCheckpoint(folder, f"holds no tokenizer that transformers can read ({error})") from error
    return tokenizer


def byte_tokenizer() -> PreTrainedTokenizerBase:
    """One token per byte of UTF-8: what `tiny` has, for it needs no files (384 ids)."""
    return ByT5Tokenizer()
