"""The options of the diffusion engine, each declared once: they are options of `genlock-worker` like the others.

It stands here, without torch, because the command line and the operator's documents read it where there is none. What
the parts of the engine are made with (`LoadOptions`, `StreamOptions`, `ForwardOptions`) is what is declared: nothing is
copied from one to the other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from genlock_core.process import values
from genlock_core.process.options import option, section
from genlock_core.spec.engines import CoderKind, Coders
from genlock_worker.engines.diffusion.config import StreamOptions

DEVICE: Final = values.text(
    r"auto|cpu|cuda(:[0-9]+)?", shape="auto|cpu|cuda|cuda:N", must_be="auto, cpu, cuda or cuda:N"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is put together."""

    random_weights: bool = option(
        values.switch(), "no", "random numbers in place of weights, to measure speed, which does not depend on them"
    )
    text_device: str = option(DEVICE, "auto", "where prompts are encoded; auto: where the model is")
    keep_text_encoder: bool = option(
        values.switch(), "yes", "no: its memory is freed after each prompt, and it is loaded again for the next one"
    )
    encoder: CoderKind = option(
        values.one_of("vae", "tiny"), "vae", "what makes latents of pictures; tiny: distilled, faster and less exact"
    )
    decoder: CoderKind = option(
        values.one_of("vae", "tiny"), "vae", "what makes pictures of latents; tiny: distilled, faster and less exact"
    )
    attention: str = option(
        values.one_of("auto", "sdpa", "flash2", "flash3", "flex"),
        "auto",
        "kernel of the attention of --kernels torch",
    )
    kernels: str = option(
        values.one_of("torch", "triton"),
        "torch",
        "what computes between linear layers: PyTorch's operations, rings row by row, or kernels of our own (GPU only)",
    )
    channels_last: bool = option(values.switch(), "yes", "no: the VAE in PyTorch's usual memory layout")
    fp8: bool = option(values.switch(), "no", "weights in 8 bits, where the GPU can")

    @property
    def coders(self) -> Coders:
        """What pictures are coded with, as profiles name it."""
        return Coders(self.encoder, self.decoder)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardOptions:
    """How forwards are run; the defaults need nothing but PyTorch."""

    compile: bool = option(values.switch(), "no", "compile the model's blocks (a longer start)")
    """What lies between the attentions: norms, modulation and rotation become one kernel each."""
    cuda_graphs: bool = option(
        values.switch(), "no", "replay forwards with one launch (GPU only, with --kernels triton)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionSettings:
    """Where the weights are, where and how they are computed with, and the options of the streaming algorithm."""

    weights: Path | None = option(
        values.optional(values.path()), "", "folder of all models' weights; left out: the model needs none"
    )
    device: str = option(DEVICE, "auto", "where the model runs; auto: the first GPU, the CPU where there is none")
    dtype: str = option(
        values.one_of("auto", "bfloat16", "float32"),
        "auto",
        "type of the model's numbers; auto: bfloat16 on a GPU, float32 on a CPU",
    )
    threads: int | None = option(
        values.optional(values.whole(1, 1_024)), "", "CPU threads of PyTorch; left out: as many as there are cores"
    )
    memory_limit_bytes: int | None = option(
        values.optional(values.size()),
        "",
        "what sessions may take of the device's memory in all; left out: what is free once the model is loaded",
    )
    overlap: bool = option(
        values.switch(), "yes", "no: the VAE encodes and decodes before the next forward begins, not beside it"
    )
    """Decoding beside the forwards has a thread and a CUDA stream of its own."""
    load: LoadOptions = section(LoadOptions)
    forward: ForwardOptions = section(ForwardOptions)
    stream: StreamOptions = section(StreamOptions)
