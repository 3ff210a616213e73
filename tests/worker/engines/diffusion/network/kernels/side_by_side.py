"""One batch of rows whose pools hold numbers everywhere, for PyTorch's operations and for kernels beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genlock_worker.engines.diffusion.config import TransformerConfig
from genlock_worker.engines.diffusion.network.kv_pool import KvPool
from genlock_worker.engines.diffusion.network.pages import PAGE_TOKENS, pages_per_slot
from genlock_worker.engines.diffusion.network.projections import Attention
from genlock_worker.engines.diffusion.network.ring_ops import RingOps
from genlock_worker.engines.diffusion.network.row_batch import RowBatch, RowOnHost
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from tests.worker.engines.diffusion.rows import CPU

SLOTS, SINKS = 4, 2
NAN = float("nan")


@dataclass(frozen=True)
class RowKind:
    """A row: `filled` slots after its write; its last frame is written twice if `doubled`; `turned` if its queries
    stand elsewhere for the sinks."""

    filled: int
    doubled: bool = False
    turned: bool = False


@dataclass(frozen=True)
class Case:
    """What a batch is made of."""

    rows: Sequence[RowKind]
    grid: tuple[int, int] = (3, 3)
    frames: int = 1
    heads: int = 2
    head_dim: int = 32
    text_length: int = 70
    sinks: int = SINKS
    dtype: torch.dtype = torch.float32

    @property
    def config(self) -> TransformerConfig:
        dim = self.heads * self.head_dim
        return TransformerConfig(layers=2, heads=self.heads, dim=dim, ffn_dim=8, text_length=self.text_length)

    @property
    def frame_tokens(self) -> int:
        return self.grid[0] * self.grid[1]


@dataclass
class Given:
    """A batch with its projections, (R, n, D) each, and the attention whose norms it goes through."""

    case: Case
    batch: RowBatch
    projections: tuple[Tensor, Tensor, Tensor]
    attention: Attention

    def in_float32(self) -> "Given":
        """The same numbers, to be computed with in float32."""
        batch, pool = self.batch, KvPool(self.case.config, device=CPU, dtype=torch.float32)
        texts = TextPool(self.case.config, device=CPU, dtype=torch.float32)
        for there, here in ((pool, batch.pool), (texts, batch.text_pool)):
            there.keys = here.keys.float()
            there.values = here.values.float()
        pool.means = batch.pool.means.clone()
        q, k, v = (projection.float() for projection in self.projections)
        attention = Attention(self.case.config)
        attention.load_state_dict(self.attention.state_dict())
        return Given(self.case, replace(batch, pool=pool, text_pool=texts), (q, k, v), attention)


def given(case: Case) -> Given:
    """Random numbers wherever a row reads, in scattered pages; NaN in every token that nobody may read."""
    generator = torch.Generator().manual_seed(len(case.rows))
    config, width, rows = case.config, pages_per_slot(case.frame_tokens), len(case.rows)
    pool = KvPool(config, device=CPU, dtype=case.dtype)
    slots = SLOTS + 1
    order = 1 + torch.randperm(rows * slots * width, generator=generator).view(rows, slots, width).int()
    pages = 1 + order.numel()
    shape = (config.layers, pages, PAGE_TOKENS, config.heads, config.head_dim)
    pool.keys, pool.values = (torch.randn(shape, generator=generator).to(case.dtype) for _ in range(2))
    pool.means = torch.zeros(config.layers, pages, 2, config.dim)
    behind = order[:, :, -1].flatten().long()
    for stored in (pool.keys, pool.values):
        stored[:, 0] = NAN
        stored[:, behind, (case.frame_tokens - 1) % PAGE_TOKENS + 1 :] = NAN

    texts = TextPool(config, device=CPU, dtype=case.dtype)
    shape = (config.layers, 1 + rows, config.text_length, config.heads, config.head_dim)
    texts.keys, texts.values = (torch.randn(shape, generator=generator).to(case.dtype) for _ in range(2))
    texts.keys[:, 0] = texts.values[:, 0] = NAN

    table = torch.zeros(rows, SLOTS, width, dtype=torch.int32)
    written, spare = table[:, : case.frames].clone(), table[:, 0].clone()
    for row, kind in enumerate(case.rows):
        table[row, : kind.filled] = order[row, : kind.filled]
        written[row] = order[row, kind.filled - case.frames : kind.filled]
        for page in order[row, kind.filled : SLOTS].flatten().tolist():
            pool.keys[:, page] = pool.values[:, page] = NAN
        if kind.doubled:
            spare[row] = order[row, SLOTS]

    numbers = torch.arange(case.frames, dtype=torch.float64)
    positions = torch.tensor([[900.0 + 7 * row] for row in range(rows)], dtype=torch.float64) + numbers
    turned = torch.tensor([[kind.turned] for kind in case.rows])
    attention = Attention(config)
    for norm in (attention.norm_q, attention.norm_k):
        torch.nn.init.normal_(norm.weight, mean=1.0, std=0.2, generator=generator)
    tokens = case.frames * case.frame_tokens
    # As parts of one product: their rows do not follow each other.
    q, k, v = (2 * torch.randn(rows, tokens, 3 * config.dim, generator=generator)).to(case.dtype).chunk(3, dim=2)
    batch = RowBatch(
        hidden=torch.zeros(rows, case.frames, 1, *case.grid),
        timesteps=torch.zeros(rows, dtype=torch.float64),
        positions=positions,
        sink_positions=torch.where(turned, 3.0 + numbers, positions),
        table=table.flatten(1),
        filled=torch.tensor([kind.filled for kind in case.rows], dtype=torch.int32),
        written=written,
        spare=spare,
        spare_positions=torch.arange(rows, dtype=torch.float64),
        texts=torch.randperm(rows, generator=generator).int() + 1,
        pool=pool,
        text_pool=texts,
        host=(),
    )
    host = tuple(
        RowOnHost(kind.filled, None, kind.turned, kind.doubled, int(batch.texts[row]))
        for row, kind in enumerate(case.rows)
    )
    return Given(case, replace(batch, host=host), (q, k, v), attention.to(case.dtype))


@dataclass(frozen=True)
class Answered:
    """What a layer's operations gave and left behind."""

    attended: Tensor
    prompted: Tensor
    keys: Tensor
    values: Tensor
    means: Tensor

    def deviations(self, other: "Answered") -> dict[str, float]:
        """The largest differences by name; what is NaN in both is equal."""
        return {name: _apart(getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__}


@torch.no_grad()
def answered(ops: RingOps, given: Given, *, layer: int = 1) -> Answered:
    """The operations of one layer, in their order; what they write stays in the batch's pool."""
    batch = given.batch
    forward = ops.enter(batch, grid=given.case.grid, sinks=given.case.sinks)
    queries = forward.write(layer, *given.projections, given.attention)
    attended = forward.attend(layer, queries)
    prompted = forward.attend_to_prompt(layer, given.projections[0], given.attention)
    pool = batch.pool
    # Nobody reads the scratch page.
    return Answered(attended, prompted, pool.keys[:, 1:], pool.values[:, 1:], pool.means[:, 1:])


def _apart(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    mine, others = ours.float(), theirs.float()
    difference = torch.where(mine.isnan() & others.isnan(), 0.0, mine - others)
    return float(difference.abs().nan_to_num(nan=float("inf")).max())
