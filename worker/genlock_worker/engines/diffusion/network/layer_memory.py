"""What one layer remembers for every row of a batch: its part of the rings, and of the prompts."""

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.attention import Attend
from genlock_worker.engines.diffusion.network.rope import Rotate, Turns
from genlock_worker.engines.diffusion.network.row_batch import RowBatch


class LayerMemory:
    """Lives for one layer of one forward: the new frames are written, then attended to with the rest of the ring."""

    def __init__(
        self, batch: RowBatch, layer: int, query_turns: Turns, key_turns: Turns, *, rotate: Rotate, attend: Attend
    ) -> None:
        """`query_turns` (R, n, 1, head_dim/2) of the new tokens, `key_turns` (R, N * fsl, ...) of the whole ring."""
        self._batch, self._layer = batch, layer
        self._query_turns, self._key_turns = query_turns, key_turns
        self._rotate, self._attend = rotate, attend
        self.means: Tensor
        """(R, F, 2, D) float32: mean key and value of each new frame; there once it was written."""

    def write_and_attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(R, n, H, head_dim) each, not rotated -> (R, n, D). The ring keeps the keys as they come."""
        frames = self._batch.slots.shape[1]
        by_frame = (torch.unflatten(new.flatten(2), 1, (frames, -1)) for new in (keys, values))
        self.means = torch.stack([new.mean(2, dtype=torch.float32) for new in by_frame], dim=2)
        rotated = self._rotate(queries, self._query_turns)
        out = []
        for row, ring in enumerate(self._batch.rings):
            ring_keys, ring_values = ring.keys[self._layer], ring.values[self._layer]
            ring_keys.index_copy_(0, self._batch.places[row], keys[row])
            ring_values.index_copy_(0, self._batch.places[row], values[row])
            valid = self._batch.valid[row]
            turns = Turns(*(part[row, :valid] for part in self._key_turns))
            out.append(self._attend(rotated[row], self._rotate(ring_keys[:valid], turns), ring_values[:valid]))
        return torch.stack(out).flatten(2)

    def attend_to_prompt(self, queries: Tensor) -> Tensor:
        """(R, n, H, head_dim) -> (R, n, D)."""
        texts = self._batch.texts
        out = [
            self._attend(queries[row], text.keys[self._layer], text.values[self._layer])
            for row, text in enumerate(texts)
        ]
        return torch.stack(out).flatten(2)
