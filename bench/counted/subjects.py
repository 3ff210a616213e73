"""What is counted: the engine's own pieces of work, at their true size, on tensors without memory.

Weights and activations are bfloat16, as a GPU has them. Rings are full, and every row is of a session of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from bench.counted.cost import Tally
from bench.counted.counter import counted
from bench.engine_rows import Pools, session_row
from genlock_worker.engines.diffusion.config import MODELS, StreamOptions
from genlock_worker.engines.diffusion.network.coding.coders import TEMPORAL_STRIDE
from genlock_worker.engines.diffusion.network.kernels.triton_pointwise import TritonPointwise
from genlock_worker.engines.diffusion.network.kernels.triton_ring import TritonRingOps
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.network.vae import StreamingVae
from genlock_worker.engines.diffusion.streaming.micro_step import QueuedRow, queue_rows
from genlock_worker.engines.diffusion.streaming.row_work import Renoise, RowWork, assemble
from genlock_worker.engines.diffusion.weights import skeletons

META = torch.device("meta")
DTYPE = torch.bfloat16

NEXT_STEP = Renoise(timestep=500.0, seed=1, chunk=12, step=1)

Size = tuple[int, int]
"""Width and height of a picture."""


@dataclass(frozen=True)
class NetworkSubject:
    """A model's transformer; `kernels` as the worker's option of that name."""

    model: str
    kernels: str = "torch"

    @cached_property
    def network(self) -> CausalWan:
        # Not by `kernels.choice`, which asks for a card.
        triton = self.kernels == "triton"
        return skeletons.transformer(
            MODELS[self.model].transformer,
            ops=TritonRingOps() if triton else None,
            pointwise=TritonPointwise() if triton else None,
        ).to(DTYPE)

    def forward(self, size: Size, rows: int) -> Tally:
        """One forward of this many rows, with what assembles it left out."""
        batch = assemble(self._works(size, rows))
        with counted() as tally:
            self.network(batch)
        return tally

    def micro_step(self, size: Size, rows: int) -> Tally:
        """The same with all round it: the batch's assembly, the rows' next inputs, and the verdicts on them."""
        *earlier, last = self._works(size, rows)
        # Every row but the last goes on to another step, with noise.
        works = [replace(work, renoise=NEXT_STEP) for work in earlier] + [last]
        with counted() as tally:
            for row in queue_rows(works, self.network):
                assert isinstance(row, QueuedRow)
                _ = row.is_finite
        return tally

    def _works(self, size: Size, rows: int) -> Sequence[RowWork]:
        width, height = size
        pools = Pools.of(self.network)
        return [session_row(self.network, pools, number, width=width, height=height) for number in range(rows)]


@dataclass(frozen=True)
class VaeSubject:
    """The VAE that all models have; `encoder` and `decoder` as the worker's options of these names."""

    encoder: str = "vae"
    decoder: str = "vae"

    def encode(self, size: Size) -> Tally:
        """A chunk of four pictures of a stream that has begun."""
        vae, stream = self._vae, self._vae.open()
        vae.encode(stream, _pictures(size, 1 + TEMPORAL_STRIDE))
        with counted() as tally:
            vae.encode(stream, _pictures(size, TEMPORAL_STRIDE))
        return tally

    def decode(self, size: Size) -> Tally:
        """A latent frame of a stream that has begun."""
        vae, stream = self._vae, self._vae.open()
        vae.decode(stream, _latents(size, 2))
        with counted() as tally:
            vae.decode(stream, _latents(size, 1))
        return tally

    @cached_property
    def _vae(self) -> StreamingVae:
        config = MODELS["wan2.1-1.3b"].vae
        encoder = skeletons.tiny_encoder(config) if self.encoder == "tiny" else None
        decoder = skeletons.tiny_decoder(config) if self.decoder == "tiny" else None
        return StreamingVae(
            skeletons.vae(config),
            device=META,
            dtype=DTYPE,
            normalise=StreamOptions().normalise_latents,
            encoder=encoder,
            decoder=decoder,
        )


def _pictures(size: Size, count: int) -> torch.Tensor:
    width, height = size
    return torch.empty(count, height, width, 3, dtype=torch.uint8, device=META)


def _latents(size: Size, count: int) -> torch.Tensor:
    width, height = size
    return torch.empty(count, MODELS["wan2.1-1.3b"].vae.z_dim, height // 8, width // 8, device=META)
