"""What a card should give at the true size: frames per second derived from counts of kernels, bytes and operations.

Not measured. The engine's own code runs on tensors without memory (`bench.counted`), and `counted.roofline` says what a
card needs at least for what was counted: at best, and where memory and products reach the share that is usual. One
session runs its steps as rows of one micro-step; sessions together share it. Forwards, encoder and decoder take their
time from one another: the card does one thing at a time here.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.counted.cost import Tally
from bench.counted.roofline import H100_AT_BEST, H100_AT_WORST, frames_per_second
from bench.counted.subjects import NetworkSubject, Size, VaeSubject
from bench.engine_tables import PUBLISHED
from bench.result import Table, save

MODEL = "wan2.1-1.3b"
SIZES: tuple[Size, ...] = ((512, 512), (832, 480))
STEPS = (1, 2, 3, 4)
TOGETHER = (1, 4, 8)
"""Sessions."""
STEPS_TOGETHER = 2
STREAM_RATE = 16
"""Frames per second of a stream."""


@dataclass(frozen=True)
class Way:
    """A way to run the engine."""

    name: str
    kernels: str
    graph: bool
    """Whether forwards are replayed, and not launched kernel by kernel."""
    encoder: str
    decoder: str

    def of_one(self, size: Size, steps: int) -> tuple[float, float]:
        """Frames per second of one session: at worst and at best."""
        return self._rates(size, steps, sessions=1)

    def of_all(self, size: Size, sessions: int) -> tuple[float, float]:
        """Frames per second of all sessions together, each of two steps: at worst and at best."""
        return self._rates(size, STEPS_TOGETHER, sessions=sessions)

    def _rates(self, size: Size, steps: int, *, sessions: int) -> tuple[float, float]:
        network, coders = micro_step(self.kernels, size, steps * sessions), coding(self.encoder, self.decoder, size)
        worst, best = (
            frames_per_second(network, coders, card, graph=self.graph, sessions=sessions)
            for card in (H100_AT_WORST, H100_AT_BEST)
        )
        return worst, best


WAYS = (
    Way("PyTorch's operations, Wan's VAE", kernels="torch", graph=False, encoder="vae", decoder="vae"),
    Way("own kernels and graphs, Wan's VAE", kernels="triton", graph=True, encoder="vae", decoder="vae"),
    Way("the same, tiny decoder", kernels="triton", graph=True, encoder="vae", decoder="tiny"),
    Way("the same, both tiny", kernels="triton", graph=True, encoder="tiny", decoder="tiny"),
)


@cache
def micro_step(kernels: str, size: Size, rows: int) -> Tally:
    """Counted once: ways share it."""
    return NetworkSubject(MODEL, kernels).micro_step(size, rows)


@cache
def coding(encoder: str, decoder: str, size: Size) -> Sequence[Tally]:
    """A chunk's encoding and decoding."""
    subject = VaeSubject(encoder=encoder, decoder=decoder)
    return subject.encode(size), subject.decode(size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    save(arguments.json, [one_session(), all_sessions()], [])


def one_session() -> Table:
    rows = []
    for size in SIZES:
        for steps in STEPS:
            print(f"derived: {_name(size)}, one session of {steps} steps", file=sys.stderr)
            published = PUBLISHED[MODEL, *size][steps - 1]
            rates = [way.of_one(size, steps) for way in WAYS]
            rows.append((_name(size), str(steps), f"{published:g}", *map(_span, rates)))
    return Table(
        title="Diffusion engine: derived for one H100, one session",
        columns=(
            "size",
            "steps",
            "published frames/s",
            *(f"{way.name}: frames/s" for way in WAYS),
        ),
        rows=tuple(rows),
        note=(
            f"Derived, not measured: {MODEL} in bfloat16, seconds from counts of kernels, bytes and operations. From "
            "70 % of the memory's rate and 60 % of the products' to 90 % and the rate of large products; each kernel "
            "is taken to fill the chip. Published: StreamDiffusionV2 on one H100 (arXiv 2511.07399), with Wan's VAE."
        ),
    )


def all_sessions() -> Table:
    rows = []
    for size in SIZES:
        for sessions in TOGETHER:
            print(f"derived: {_name(size)}, {sessions} sessions", file=sys.stderr)
            rates = [way.of_all(size, sessions) for way in WAYS]
            served = [f"{worst / STREAM_RATE:.1f} to {best / STREAM_RATE:.1f}" for worst, best in rates]
            rows.append((_name(size), str(sessions), *map(_both, map(_span, rates), served)))
    return Table(
        title="Diffusion engine: derived for one H100, sessions together at two steps",
        columns=(
            "size",
            "sessions",
            *(f"{way.name}: frames/s of all (streams of {STREAM_RATE})" for way in WAYS),
        ),
        rows=tuple(rows),
        note=(
            "As above. The coders' calls are launched once for all "
            "sessions; what they compute grows with them. The streams are what the rate would serve, whatever memory "
            "and deadlines say."
        ),
    )


def _name(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _span(rates: tuple[float, float]) -> str:
    worst, best = rates
    return f"{worst:.1f} to {best:.1f}"


def _both(rate: str, streams: str) -> str:
    return f"{rate} ({streams})"


if __name__ == "__main__":
    main()
