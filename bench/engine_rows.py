"""What a row costs that shares its forward with rows of other sessions: n rows in one forward, or n forwards of one.

The network of 1.3 billion parameters in its true size, with random weights, since speed does not depend on their
values. The transformer alone: `bench.engine` measures the whole path, where on a CPU the VAE hides what is seen here.
What a forward does once, whoever is in it (on a CPU: read the weights, and lay them out for the multiplication), counts
most where rows have few tokens, so on a CPU the pictures are small. Needs 9 GB of memory.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from bench.result import Series, Table, save
from genlock_worker.engines.diffusion.components import choose_device, choose_dtype
from genlock_worker.engines.diffusion.config import MODELS, Positions
from genlock_worker.engines.diffusion.network import attention
from genlock_worker.engines.diffusion.network.kv_pool import KvPool, PagedRing
from genlock_worker.engines.diffusion.network.ring_ops import TorchRingOps
from genlock_worker.engines.diffusion.network.text_pool import TextPool
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.streaming.positions import frame_index, index_to_sinks
from genlock_worker.engines.diffusion.streaming.row_work import RowWork, assemble
from genlock_worker.engines.diffusion.streaming.session import LATENT_STRIDE
from genlock_worker.engines.diffusion.weights import random_weights, skeletons

MODEL = "wan2.1-1.3b"
ROWS = (1, 2, 4, 8)
CPU_SIZES = ((64, 64), (128, 128))
GPU_SIZES = ((512, 512), (832, 480))
TURNS = 2
TIMESTEP = 700.0
CPU_NOTE = (
    "float32, since a CPU without AVX-512 or AMX emulates bfloat16, four to eight times slower. What the rows of a "
    "forward share is what it does once for all of them: reading 5 GB of weights, and laying them out for the "
    "multiplication; by the figures of one row and of most rows together that takes {once}. So the ratios hold where a "
    "row has few tokens for the weights. They say nothing of a GPU at 480p: with 1560 tokens a layer does about 500 "
    "operations for each byte that it moves, near an H100's roofline knee of 590 (StreamDiffusionV2) with one row "
    "already."
)


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds per row of this process, which has one thread on a CPU: its CPU's, which a busy machine hardly falsifies,
    and the clock's."""

    cpu_s: float
    wall_s: float

    @classmethod
    def mean(cls, taken: Iterable["Taken"]) -> "Taken":
        return cls(*(fmean(values) for values in zip(*map(astuple, taken), strict=True)))


@torch.no_grad()
def network(name: str, *, device: torch.device, dtype: torch.dtype) -> CausalWan:
    """The transformer of a model, of random weights."""
    attend = attention.choose("auto", MODELS[name].transformer, device=device, dtype=dtype)
    model = skeletons.transformer(MODELS[name].transformer, ops=TorchRingOps(attend))
    random_weights.fill(model, device=device, dtype=dtype, factors=random_weights.TRANSFORMER_FACTORS)
    return model


@dataclass(frozen=True, slots=True, eq=False)
class Pools:
    """Where rings and prompts lie: those of all rows of a forward together."""

    rings: KvPool
    texts: TextPool

    @classmethod
    def of(cls, model: CausalWan) -> "Pools":
        """Empty ones for a model, on its device."""
        weight = model.patch_embedding.weight
        return cls(
            KvPool(model.config, device=weight.device, dtype=weight.dtype),
            TextPool(model.config, device=weight.device, dtype=weight.dtype),
        )


@torch.no_grad()
def session_row(model: CausalWan, pools: Pools, number: int, *, width: int, height: int) -> RowWork:
    """A row of session `number` in full flow: its ring, which is full, its prompt and its input, of random numbers.

    A model on `meta` gives a row without numbers, to be counted and not computed.
    """
    config, layout = model.config, model.layout
    weight = model.patch_embedding.weight
    generator = None if weight.is_meta else torch.Generator(weight.device).manual_seed(number)

    def drawn(empty: Tensor) -> Tensor:
        return empty.normal_(generator=generator)

    ring = PagedRing.taken(pools.rings, layout, frame_tokens=config.frame_tokens(height, width))
    for slot in ring.slots:
        for stored in (pools.rings.keys, pools.rings.values, pools.rings.means):
            stored[:, list(slot)] = drawn(stored.new_empty(stored[:, list(slot)].shape))
    text = (config.layers, config.text_length, config.heads, config.head_dim)
    mode, frame = Positions.RELATIVE, 2 * layout.slots + number  # sessions are at different places of their streams
    return RowWork(
        session=f"bench/{number}",
        hidden=drawn(weight.new_empty(1, config.channels, height // LATENT_STRIDE, width // LATENT_STRIDE)),
        timestep=TIMESTEP,
        ring=ring,
        text=pools.texts.put(drawn(weight.new_empty(text)), drawn(weight.new_empty(text))),
        slots=(layout.slot(frame),),
        filled=layout.slots,
        positions=(frame_index(mode, layout, frame),),
        sink_positions=(index_to_sinks(mode, layout, frame, frame),),
    )


def run(model: CausalWan, forwards: Sequence[Sequence[RowWork]]) -> Taken:
    """These forwards, one after the other, each awaited as a micro-step awaits it."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for works in forwards:
        model(assemble(works)).similarity.tolist()
    rows = sum(map(len, forwards))
    return Taken((time.process_time() - cpu_s) / rows, (time.perf_counter() - wall_s) / rows)


def turn(model: CausalWan, works: Sequence[RowWork]) -> tuple[Taken, dict[int, Taken]]:
    """(every row alone, the first 1, 2, 4 and 8 of them together by their number), mixed: a shared machine changes its
    pace."""
    alone, together = [], {}
    waiting, each = [[work] for work in works], len(works) // len(ROWS)
    for number, rows in enumerate(ROWS):
        alone.append(run(model, waiting[number * each :][:each]))
        together[rows] = run(model, [works[:rows]])
    return Taken.mean(alone), together


def measured(model: CausalWan, sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[str, ...]]:
    """A row of the table for each size and number of rows."""
    for width, height in sizes:
        pools = Pools.of(model)
        works = [session_row(model, pools, number, width=width, height=height) for number in range(max(ROWS))]
        run(model, [works[:1]])  # the process warms up
        turns = [turn(model, works) for _ in range(TURNS)]
        alone = Taken.mean(one for one, _ in turns)
        for rows in ROWS:
            together = Taken.mean(ones[rows] for _, ones in turns)
            say = f"{width}x{height}, {rows} rows: {alone.cpu_s / together.cpu_s:.2f} times as fast"
            print(say, file=sys.stderr, flush=True)
            yield (
                f"{width}x{height}",
                str(model.config.frame_tokens(height, width)),
                str(rows),
                *(f"{side.cpu_s * 1000:.0f}" for side in (alone, together)),
                f"{alone.cpu_s / together.cpu_s:.2f}",
                *(f"{side.wall_s * 1000:.0f}" for side in (alone, together)),
                f"{alone.wall_s / together.wall_s:.2f}",
            )


def done_once(rows: Sequence[tuple[str, ...]]) -> str:
    """What a forward of each size does once, in words: n rows together take once + n * each."""
    words = []
    for size in dict.fromkeys(row[0] for row in rows):
        first, *_, last = (row for row in rows if row[0] == size)
        most, one_ms, each_ms = int(last[2]), float(first[4]), float(last[4])
        once_ms = (one_ms - each_ms) * most / (most - 1)
        words.append(f"{once_ms:.0f} ms at {size}")
    return " and ".join(words)


def table(rows: Sequence[tuple[str, ...]], *, device: torch.device, dtype: torch.dtype) -> Table:
    on_gpu = device.type == "cuda"
    where = torch.cuda.get_device_name(device) if on_gpu else "one CPU thread"
    return Table(
        title="Diffusion engine: rows of several sessions in one forward of the true network",
        columns=(
            "picture",
            "tokens of a row",
            "rows",
            "alone, CPU ms per row",
            "together, CPU ms per row",
            "ratio",
            "alone, ms per row",
            "together, ms per row",
            "ratio",
        ),
        rows=tuple(rows),
        note=(
            f"{MODEL} in its true size, random weights, {str(dtype).removeprefix('torch.')}, on {where}, torch "
            f"{torch.__version__}; the transformer alone, without VAE and text encoder. Each row is of another "
            "session, with a full ring and a prompt of its own. Alone: a forward for each row. Together: that many "
            f"rows in one forward. Both in turns, the mean of {TURNS}; CPU time of the process, then the clock's. "
            "One row is the same work both ways: how far its ratios are from 1 is what the others are uncertain by."
            + ("" if on_gpu else f" {CPU_NOTE.format(once=done_once(rows))}")
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the result goes; without it the table is printed")
    parser.add_argument("--device", default="auto", help="auto: the GPU where there is one")
    options = parser.parse_args()
    device = choose_device(options.device)
    dtype = choose_dtype("auto", device)
    on_gpu = device.type == "cuda"
    if not on_gpu:
        torch.set_num_threads(1)
    rows = list(measured(network(MODEL, device=device, dtype=dtype), GPU_SIZES if on_gpu else CPU_SIZES))
    result = table(rows, device=device, dtype=dtype)
    series = Series(
        f"{MODEL}: rows in one forward against as many forwards of one row",
        tuple(f"{row[0]}, {row[2]} row{'' if row[2] == '1' else 's'}" for row in rows),
        tuple(float(row[8 if on_gpu else 5]) for row in rows),
        "times as fast",
    )
    if options.json is None:
        print(result.markdown())
    else:
        save(options.json, [result], [series])


if __name__ == "__main__":
    main()
