"""Every prompt's embedding, and the cross-attention keys and values of the prompts and blends in use.

Prompts are named by their digest. The book is only a cache. A session keeps the embeddings that it needs (they are in
its snapshots, too) and brings them along when it asks for keys and values, so what the book has forgotten makes no
difference to any stream. An embedding that a session brings is known by its numbers and not by the prompt that it is
said to be of, so no other session is ever given it for that prompt.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from genlock_worker.engines.algorithm.blend import Weights, prompt_digest
from genlock_worker.engines.diffusion.network.pages import PoolFull
from genlock_worker.engines.diffusion.network.text_encoder import TextEncoder
from genlock_worker.engines.diffusion.network.text_pool import TextKv, TextPool

EMBEDDINGS = 256
"""Embeddings kept; one of 512 tokens of the large models is 8 MB."""
KEPT_BYTES = 2**30
"""Keys and values kept, at 94 MB a prompt for the 1.3B model and 419 MB for the 14B one in 16 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One prompt's embedding; equal numbers have equal fingerprints, wherever they come from."""

    rows: Tensor
    """(n, text_dim) float32 on the CPU, the rows that are not padding; not to be written to."""
    fingerprint: str = field(init=False)
    """SHA-256 (hex) over shape and numbers."""

    def __post_init__(self) -> None:
        found = hashlib.sha256(str(tuple(self.rows.shape)).encode())
        found.update(self.rows.contiguous().numpy().data)
        object.__setattr__(self, "fingerprint", found.hexdigest())


class PromptBook:
    """The prompts of all sessions of an engine. Thread-safe, but `keys_values`, which is the engine thread's.

    `text_kv` is the transformer's: from an embedding (text_length, text_dim), padded with zeros, to keys and values,
    which are kept in `texts`. Embeddings are rounded
    to `dtype`, the transformer's, once encoded: snapshots hold them so, and what was restored shall be what was.
    `kept_bytes` bounds the keys and values that are kept; the last that were asked for are kept in any case.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        text_kv: Callable[[Tensor], tuple[Tensor, Tensor]],
        texts: TextPool,
        *,
        text_length: int,
        text_dim: int,
        dtype: torch.dtype,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._encoder = encoder
        self._text_kv = text_kv
        self.texts = texts
        self._text_length = text_length
        self._text_dim = text_dim
        self._dtype = dtype
        self._kept_bytes = kept_bytes
        self._encoding = threading.Lock()
        self._lock = threading.Lock()
        self._embeddings: OrderedDict[str, Embedding] = OrderedDict()
        self._computed: OrderedDict[Weights, TextKv] = OrderedDict()
        """By fingerprints and weights."""

    @property
    def bytes(self) -> int:
        """Bytes of the keys and values that are kept, on the transformer's device."""
        return sum(text.bytes for text in list(self._computed.values()))

    def prepare(self, prompt: str) -> None:
        """Encode a prompt, unless its embedding is there. May take seconds; raises what the encoder raises.

        Raises ValueError if the encoder gave something that is no embedding of this model.
        """
        digest = prompt_digest(prompt)
        with self._encoding:
            if self._knows(digest):
                return
            encoded = Embedding(self._checked(digest, self._encoder.encode(prompt)))
            with self._lock:
                self._embeddings[digest] = encoded
                while len(self._embeddings) > EMBEDDINGS:
                    self._embeddings.popitem(last=False)

    def embedding(self, digest: str) -> Embedding:
        """What the encoder made of a prompt. Raises KeyError for one that was not prepared, or long ago."""
        with self._lock:
            if digest not in self._embeddings:
                raise KeyError(f"no embedding of prompt {digest}: prepare the prompt")
            self._embeddings.move_to_end(digest)
            return self._embeddings[digest]

    def keys_values(self, mix: Weights, embeddings: Mapping[str, Embedding]) -> TextKv:
        """Keys and values of a prompt or a blend: a function of the asker's embeddings (by digest) and the weights.

        A blend is the weighted sum of embeddings. Raises KeyError for a prompt whose embedding is not there.
        """
        parts = [(embeddings[digest], weight) for digest, weight in mix]
        key = tuple((embedding.fingerprint, weight) for embedding, weight in parts)
        text = self._computed.get(key)
        if text is None:
            text = self._computed[key] = self._kept(*self._text_kv(self._blended(parts)))
        self._computed.move_to_end(key)
        while len(self._computed) > 1 and self.bytes > self._kept_bytes:
            self._computed.popitem(last=False)
        return text

    def _kept(self, keys: Tensor, values: Tensor) -> TextKv:
        """Put them into the pool; where it is full, what no session uses makes room. Raises torch.OutOfMemoryError."""
        while True:
            try:
                return self.texts.put(keys, values)
            except PoolFull:
                if not self._computed:
                    raise
                self._computed.popitem(last=False)

    def _blended(self, parts: Sequence[tuple[Embedding, float]]) -> Tensor:
        padded = [functional.pad(part.rows, (0, 0, 0, self._text_length - len(part.rows))) for part, _ in parts]
        if len(padded) == 1:
            return padded[0]
        weights = torch.tensor([weight for _, weight in parts])
        return (torch.stack(padded) * weights[:, None, None]).sum(0)

    def _knows(self, digest: str) -> bool:
        with self._lock:
            return digest in self._embeddings

    def _checked(self, digest: str, embedding: Tensor) -> Tensor:
        rows = embedding.detach().to("cpu", self._dtype).to(torch.float32, copy=True)
        if rows.ndim != 2 or rows.shape[1] != self._text_dim or not 1 <= len(rows) <= self._text_length:
            wanted = f"(1 to {self._text_length}, {self._text_dim})"
            raise ValueError(f"the embedding of prompt {digest} must be {wanted}, not {tuple(rows.shape)}")
        if not bool(torch.isfinite(rows).all()):
            raise ValueError(f"the embedding of prompt {digest} holds numbers that are not finite")
        return rows
