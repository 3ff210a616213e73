"""Every prompt's embedding, and the cross-attention keys and values of the prompts and blends in use.

Prompts are named by their digest. The book is a cache and nobody's memory: a session keeps the embeddings that it needs
(they are in its snapshots, too) and brings them along with `add` before it asks for keys and values, so what the book
has forgotten in between, and what it knows from elsewhere, makes no difference to any stream.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from genlock_worker.engines.blend import Weights, prompt_digest
from genlock_worker.engines.diffusion.network.kv import TextKv
from genlock_worker.engines.diffusion.network.text_encoder import TextEncoder

EMBEDDINGS = 256
"""Embeddings kept; one of 512 tokens of the large models is 8 MB."""
KEPT_BYTES = 2**30
"""Keys and values kept, at 94 MB a prompt for the 1.3B model and 419 MB for the 14B one in 16 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class _Computed:
    """Keys and values, and the very embeddings that they were computed from."""

    embeddings: tuple[Tensor, ...]
    text: TextKv


class PromptBook:
    """The prompts of all sessions of an engine. Thread-safe, but `keys_values`, which is the engine thread's.

    `text_kv` is the transformer's: from an embedding (text_length, text_dim), padded with zeros. Embeddings are rounded
    to `dtype`, the transformer's, as they come in: snapshots hold them so, and what was restored shall be what was.
    `kept_bytes` bounds the keys and values that are kept; the last that were asked for are kept in any case.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        text_kv: Callable[[Tensor], TextKv],
        *,
        text_length: int,
        text_dim: int,
        dtype: torch.dtype,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._encoder = encoder
        self._text_kv = text_kv
        self._text_length, self._text_dim = text_length, text_dim
        self._dtype = dtype
        self._kept_bytes = kept_bytes
        self._encoding = threading.Lock()
        self._lock = threading.Lock()
        self._embeddings: OrderedDict[str, Tensor] = OrderedDict()
        self._computed: OrderedDict[Weights, _Computed] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Bytes of the keys and values that are kept, on the transformer's device."""
        return sum(one.text.bytes for one in list(self._computed.values()))

    def prepare(self, prompt: str) -> None:
        """Encode a prompt, unless its embedding is there. May take seconds; raises what the encoder raises.

        Raises ValueError if the encoder gave something that is no embedding of this model.
        """
        digest = prompt_digest(prompt)
        with self._encoding:
            if not self._knows(digest):
                self.add(digest, self._encoder.encode(prompt))

    def add(self, digest: str, embedding: Tensor) -> None:
        """Bring along an embedding (n, text_dim), 1 <= n <= text_length; it takes the place of another of that name.

        Raises ValueError for another shape and for numbers that are not finite.
        """
        with self._lock:
            if self._embeddings.get(digest) is embedding:
                self._embeddings.move_to_end(digest)
                return
        rows = self._checked(digest, embedding)
        with self._lock:
            known = self._embeddings.get(digest)
            # The same numbers stay the same tensor, for which keys and values may be there.
            self._embeddings[digest] = known if known is not None and torch.equal(known, rows) else rows
            self._embeddings.move_to_end(digest)
            while len(self._embeddings) > EMBEDDINGS:
                self._embeddings.popitem(last=False)

    def embedding(self, digest: str) -> Tensor:
        """(n, text_dim) float32 on the CPU, not to be written to. Raises KeyError for one that was not prepared."""
        with self._lock:
            if digest not in self._embeddings:
                raise KeyError(f"no embedding of prompt {digest}: prepare the prompt, or add its embedding")
            self._embeddings.move_to_end(digest)
            return self._embeddings[digest]

    def keys_values(self, mix: Weights) -> TextKv:
        """Keys and values of a prompt or a blend: a function of the embeddings and the weights alone.

        A blend is the weighted sum of embeddings. Raises KeyError for a prompt whose embedding is not there.
        """
        embeddings = tuple(self.embedding(digest) for digest, _ in mix)
        known = self._computed.get(mix)
        if known is None or any(a is not b for a, b in zip(known.embeddings, embeddings, strict=True)):
            known = _Computed(embeddings, self._text_kv(self._blended(embeddings, mix)))
            self._computed[mix] = known
        self._computed.move_to_end(mix)
        while len(self._computed) > 1 and self.bytes > self._kept_bytes:
            self._computed.popitem(last=False)
        return known.text

    def _blended(self, embeddings: tuple[Tensor, ...], mix: Weights) -> Tensor:
        padded = [functional.pad(rows, (0, 0, 0, self._text_length - len(rows))) for rows in embeddings]
        if len(padded) == 1:
            return padded[0]
        weights = torch.tensor([weight for _, weight in mix])
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
