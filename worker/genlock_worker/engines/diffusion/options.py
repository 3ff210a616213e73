"""What a diffusion engine is told: each an option of `genlock-worker` like the others, read without torch."""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from genlock_worker.engines.algorithm.ring import SINKS, SLOTS
from genlock_worker.engines.diffusion.config import Positions

_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kMGT]i?)?B?")
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@dataclass(frozen=True, slots=True)
class DiffusionSettings:
    """Where the weights are, where and how they are computed with, and the options of the streaming algorithm."""

    weights: Path | None
    """The folder of all models' weights; None: the model needs none, or `random_weights`."""
    random_weights: bool
    """Random numbers in place of weights: for measuring speed, which does not depend on them."""
    device: str
    """`auto`: the first GPU, the CPU where there is none."""
    dtype: str
    """`auto`: bfloat16 on a GPU, float32 on a CPU."""
    text_device: str
    """Where prompts are encoded; `auto`: where the model is."""
    keep_text_encoder: bool
    """False: its memory is freed after each prompt, and it is loaded again for the next one."""
    decoder: str
    """`vae`, or `tiny`: a distilled one, faster and less exact."""
    attention: str
    compile: bool
    cuda_graphs: bool
    fp8: bool
    channels_last: bool
    overlap: bool
    """True: chunks are decoded beside the forwards that follow them, on a thread and a CUDA stream of their own."""
    threads: int | None
    """CPU threads of PyTorch; None: as many as there are cores."""
    memory_limit_bytes: int | None
    """What sessions may take of the device's memory in all; None: what is free once the model is loaded."""
    ring_frames: int
    """Latent frames that a row attends to, the current one included (N)."""
    sink_frames: int
    """Of these, how many stay for the whole session (S)."""
    positions: Positions
    sink_threshold: float | None
    """A sink that is less similar than this to what comes in is replaced; None: sinks stay."""
    normalise_latents: bool
    """True: feed the network latents of mean 0 and deviation 1. The published models were run without."""
    primed_chunks: int
    """So many of the last chunks a snapshot keeps, to bring the VAE back to where it was."""
    refresh_on_prompt: bool
    """True: what a row remembers is computed anew once another prompt has taken over."""


class AddOption(Protocol):
    """How an option of the worker is added to its command line."""

    def __call__(self, name: str, default: str, meaning: str, kind: Callable[[str], object] = str) -> None: ...


def add_options(option: AddOption) -> None:
    """One option for each field of DiffusionSettings, of the same name."""
    option("weights", "", "folder of the models' weights", optional_path)
    option("random-weights", "no", "yes: random numbers in their place, to measure speed", yes)
    option("device", "auto", "auto, cpu, cuda or cuda:N", _device)
    option("dtype", "auto", "type of the model's numbers", one_of("auto", "bfloat16", "float32"))
    option("text-device", "auto", "where prompts are encoded: auto (beside the model), cpu, cuda or cuda:N", _device)
    option("keep-text-encoder", "yes", "no: free its memory after each prompt, load it again for the next", yes)
    option("decoder", "vae", "what makes pictures of latents", one_of("vae", "tiny"))
    option("attention", "auto", "kernel of the attention", one_of("auto", "sdpa", "flash2", "flash3", "flex"))
    option("compile", "no", "yes: compile the model's blocks (a longer start)", yes)
    option("cuda-graphs", "no", "yes: replay rows that come up again and again with one launch (GPU only)", yes)
    option("fp8", "no", "yes: weights in 8 bits, where the GPU can", yes)
    option("channels-last", "yes", "no: the VAE in PyTorch's usual memory layout", yes)
    option("overlap", "yes", "no: pictures are decoded before the next forward begins, not beside it", yes)
    option("threads", "", "CPU threads of PyTorch; left out: as many as cores", _optional_count)
    option("memory-limit", "", "what sessions may take of it, such as 20Gi; left out: what is free", _optional_bytes)
    option("ring-frames", str(SLOTS), "latent frames that a row attends to", _count)
    option("sink-frames", str(SINKS), "how many of these stay from the session's beginning", int)
    option("positions", Positions.RELATIVE.value, "where cached frames stand in time", one_of(*Positions))
    option("sink-threshold", "0.2", "similarity below which a sink is replaced; off: never", _threshold)
    option("normalise-latents", "no", "yes: normalise what the network is fed", yes)
    option("primed-chunks", "4", "last chunks that a snapshot keeps, to prime the VAE with", _count)
    option("refresh-on-prompt", "no", "yes: compute what is cached anew under a new prompt", yes)


def one_of(*words: str) -> Callable[[str], str]:
    """Unlike argparse's `choices` this also looks at what comes from the environment."""

    def check(text: str) -> str:
        for word in words:
            if text == word:
                return word
        raise argparse.ArgumentTypeError(f"must be one of: {', '.join(words)}")

    return check


def yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError("must be yes or no")
    return text == "yes"


def optional_path(text: str) -> Path | None:
    return Path(text) if text else None


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", text):
        raise argparse.ArgumentTypeError("must be auto, cpu, cuda or cuda:N")
    return text


def _threshold(text: str) -> float | None:
    try:
        return None if text == "off" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a number, or off") from None


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number from 1")
    return int(text)


def _optional_count(text: str) -> int | None:
    return _count(text) if text else None


def _optional_bytes(text: str) -> int | None:
    """`20Gi`, `20GB` or a plain number of bytes."""
    if not text:
        return None
    found = _BYTES.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("must be an amount of memory, such as 20Gi")
    return round(float(found[1]) * _UNITS.get(found[2], 1))
