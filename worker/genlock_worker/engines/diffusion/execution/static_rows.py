"""The inputs of captured forwards: rows of one size in tensors that keep their addresses, filled anew before each.

All graphs of a size read the same tensors, each as many of their first rows as it has. Rows that only fill a batch
write to the scratch page, attend to it alone, and read a prompt that is nobody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from genlock_worker.engines.algorithm.ring import RingLayout
from genlock_worker.engines.diffusion.network.kv_pool import KvPool
from genlock_worker.engines.diffusion.network.pages import SCRATCH, pages_per_slot
from genlock_worker.engines.diffusion.network.row_batch import RowBatch, RowOnHost
from genlock_worker.engines.diffusion.network.text_pool import TextPool

FIELDS: Final = (
    ("hidden",),
    ("timesteps", "positions", "sink_positions", "spare_positions"),
    ("table", "filled", "written", "spare", "texts"),
)
"""The tensors of a `RowBatch`, those of one dtype together: one kernel copies them."""
_IDLE = RowOnHost(filled=1, run=None, turned=False, doubled=False, text=SCRATCH)


@dataclass(frozen=True, slots=True, eq=False)
class StaticRows:
    """Inputs for rows of one latent frame each, over pools whose addresses are fixed, too."""

    batch: RowBatch
    """All rows that there are."""
    idle: RowBatch
    """As many that only fill a batch; never changed."""

    @classmethod
    def made(
        cls,
        rows: int,
        *,
        latent: tuple[int, int, int],
        patch: int,
        layout: RingLayout,
        pool: KvPool,
        text_pool: TextPool,
    ) -> "StaticRows":
        """Rows of latents (C, h, w), all of them idle. Raises torch.OutOfMemoryError."""
        _, height, width = latent
        pages = pages_per_slot((height // patch) * (width // patch))
        device = pool.device

        def real(*shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=torch.float64, device=device)

        def whole(*shape: int, value: int = SCRATCH) -> Tensor:
            return torch.full((rows, *shape), value, dtype=torch.int32, device=device)

        def batch() -> RowBatch:
            return RowBatch(
                hidden=torch.zeros(rows, 1, *latent, dtype=pool.dtype, device=device),
                timesteps=real(),
                positions=real(1),
                sink_positions=real(1),
                table=whole(layout.slots * pages),
                filled=whole(value=1),
                written=whole(1, pages),
                spare=whole(pages),
                spare_positions=real(),
                texts=whole(),
                pool=pool,
                text_pool=text_pool,
                host=(_IDLE,) * rows,
            )

        return cls(batch(), batch())

    def first(self, rows: int) -> RowBatch:
        """The first rows, as one forward reads them: views."""
        views = {name: getattr(self.batch, name)[:rows] for names in FIELDS for name in names}
        return replace(self.batch, **views, host=self.batch.host[:rows])

    def rest(self) -> None:
        """Let all rows be idle."""
        for names in FIELDS:
            torch._foreach_copy_([getattr(self.batch, name) for name in names], [getattr(self.idle, n) for n in names])

    def fill(self, batch: RowBatch, *, rows: int) -> None:
        """Let the first of `rows` rows be those of `batch`, and the others idle: one kernel for each dtype."""
        count = batch.rows
        for names in FIELDS:
            into: list[Tensor] = []
            values: list[Tensor] = []
            for name in names:
                static = getattr(self.batch, name)
                into.append(static[:count])
                values.append(getattr(batch, name))
                if count < rows:
                    into.append(static[count:rows])
                    values.append(getattr(self.idle, name)[: rows - count])
            torch._foreach_copy_(into, values)


def apart(results: Sequence[Tensor], rows: int) -> list[Tensor]:
    """The first rows of each in memory of their own, by one kernel."""
    own = [torch.empty_like(result[:rows]) for result in results]
    torch._foreach_copy_(own, [result[:rows] for result in results])
    return own
