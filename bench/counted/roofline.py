"""What a card would need at least for what was counted: figures derived from the counts, and called so.

Each kernel takes the longer of its memory's time and its arithmetic's, and no kernel less than `kernel_s`. The host
launches kernel after kernel, so that a piece of work never takes less than its launches, unless it is replayed as a
graph. Not in it: how well a kernel fills the chip, and what the host does besides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.counted.cost import Tally

CHUNK_PICTURES = 4


@dataclass(frozen=True, slots=True)
class Card:
    """What a card and its host are taken to do."""

    name: str
    bytes_per_s: float
    operations_per_s: float
    """Of bfloat16 products."""
    kernel_s: float
    """The least that a kernel takes, with the gap before it."""
    launch_s: float
    """What the host takes to launch a kernel from Python."""


H100_AT_BEST = Card("H100 at best", 3.0e12, 798e12, 1.5e-6, 4e-6)
"""90 % of the data sheet's 3.35 TB/s; the rate of products of 8192 x 8192 that others measured."""
H100_AT_WORST = Card("H100 at worst", 2.3e12, 480e12, 3e-6, 6e-6)
"""70 % of the memory's rate, 60 % of the products' rate."""


def device_s(tally: Tally, card: Card) -> float:
    """Seconds in which the card could do this."""
    return sum(
        max(
            entry.cost.bytes / card.bytes_per_s,
            entry.cost.operations / card.operations_per_s,
            entry.cost.kernels * card.kernel_s,
        )
        for entry in tally.entries
    )


def seconds(tally: Tally, card: Card, *, graph: bool) -> float:
    """Seconds of a piece of work, launched kernel by kernel or as a graph."""
    on_device_s = device_s(tally, card)
    return on_device_s if graph else max(on_device_s, tally.total.kernels * card.launch_s)


def frames_per_second(network: Tally, vae: Sequence[Tally], card: Card, *, graph: bool, sessions: int = 1) -> float:
    """Of all sessions together, whose chunks of four pictures take one micro-step and the VAE both ways.

    `network` is counted with the rows of all sessions, `vae` with one session's chunk: a call for several has the
    launches of one, and computes for each.
    """
    coding_s = sum(max(sessions * device_s(piece, card), piece.total.kernels * card.launch_s) for piece in vae)
    return sessions * CHUNK_PICTURES / (seconds(network, card, graph=graph) + coding_s)
