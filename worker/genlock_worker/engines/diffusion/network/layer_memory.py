"""What one layer remembers for every row of a batch: its part of the rings, and of the prompts."""

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.attention import Attend
from genlock_worker.engines.diffusion.network.rope import Rotate, Rotations
from genlock_worker.engines.diffusion.network.row_batch import RowBatch


class LayerMemory:
    """Lives for one layer of one forward: the new frames are written, then attended to with the rest of the ring."""

    def __init__(
        self,
        batch: RowBatch,
        layer: int,
        query_rotations: Rotations,
        key_rotations: Rotations,
        *,
        rotate: Rotate,
        attend: Attend,
    ) -> None:
        """`query_rotations` (R, n, 1, head_dim/2) of new tokens, `key_rotations` (R, N * fsl, ...) of the ring."""
        self._batch = batch
        self._layer = layer
        self._query_rotations = query_rotations
        self._key_rotations = key_rotations
        self._rotate = rotate
        self._attend = attend
        self.means: Tensor
        """(R, F, 2, D) float32: mean key and value of each new frame; there once it was written."""

    def write_and_attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(R, n, H, head_dim) each, not rotated -> (R, n, D). The ring keeps the keys as they come."""
        frames = self._batch.slots.shape[1]
        by_frame = (torch.unflatten(new.flatten(2), 1, (frames, -1)) for new in (keys, values))
        self.means = torch.stack([new.mean(2, dtype=torch.float32) for new in by_frame], dim=2)
        rotated = self._rotate(queries, self._query_rotations)
        out = []
        for row, ring in enumerate(self._batch.rings):
            ring_keys, ring_values = ring.keys[self._layer], ring.values[self._layer]
            ring_keys.index_copy_(0, self._batch.places[row], keys[row])
            ring_values.index_copy_(0, self._batch.places[row], values[row])
            valid = self._batch.valid[row]
            rotations = Rotations(*(part[row, :valid] for part in self._key_rotations))
            out.append(self._attend(rotated[row], self._rotate(ring_keys[:valid], rotations), ring_values[:valid]))
        return torch.stack(out).flatten(2)

    def attend_to_prompt(self, queries: Tensor) -> Tensor:
        """(R, n, H, head_dim) -> (R, n, D)."""
        texts = self._batch.texts
        out = [
            self._attend(queries[row], text.keys[self._layer], text.values[self._layer])
            for row, text in enumerate(texts)
        ]
        return torch.stack(out).flatten(2)
