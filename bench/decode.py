"""What decoding out of process costs beside decoding in the worker: latency and CPU time of each picture.

Both decode the same stream, in turns. Between two pictures a process sleeps, as it does in a worker.
The latency runs from the call with the coded picture to the RGB picture of the session's size. CPU time is that of the
calling thread, and of the decoder's process.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from bench.result import Series, Table, percentile, save
from genlock_core.bounds import Holdings
from genlock_core.clock import SystemClock
from genlock_core.media import AccessUnit, Codec
from genlock_core.metrics import WorkerMetrics
from genlock_worker.intake.decode import InProcess
from genlock_worker.intake.decoding import Decoders
from genlock_worker.intake.out_of_process.nursery import Nursery
from genlock_worker.intake.pattern import draw
from genlock_worker.output.encode import EncoderSettings, open_encoder

WIDTH, HEIGHT, RATE = 832, 480, 16
BIT_RATE = 2_500_000
PICTURES = 48
PACE_S = 0.02
"""Faster than a camera: nothing waits for the picture before."""
ROUNDS = 3
STARTS = 12
BETWEEN_STARTS_S = 0.25
"""The nursery has a spare decoder again."""


@dataclass
class Spent:
    """What pictures cost one way, in milliseconds."""

    latency_ms: list[float] = field(default_factory=list)
    worker_cpu_ms: list[float] = field(default_factory=list)
    decoder_cpu_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    """Of a fresh decoder, a key frame."""


def stream(codec: Codec) -> list[AccessUnit]:
    """The moving test card, of which only the first picture is a key frame."""
    encoder = open_encoder(codec, EncoderSettings(WIDTH, HEIGHT, RATE, BIT_RATE))
    return [
        encoder.encode(draw(i, width=WIDTH, height=HEIGHT), capture_us=i * 1_000_000 // RATE, idr=i == 0)
        for i in range(PICTURES)
    ]


def decoders_cpu_ms() -> dict[int, float]:
    """CPU time of this process's grandchildren: of the decoders that its nursery has forked."""
    nurseries = _children(os.getpid())
    decoders = [decoder for nursery in nurseries for decoder in _children(nursery)]
    return {pid: int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6 for pid in decoders}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def measure(decoders: Decoders, units: list[AccessUnit], spent: Spent) -> None:
    """Raises RuntimeError if a picture is missing."""
    decoder = decoders(units[0].codec, holdings=Holdings())
    before: dict[int, float] = {}
    worker_ms = 0.0
    start_s = time.monotonic()
    for place, unit in enumerate(units):
        time.sleep(max(0.0, start_s + place * PACE_S - time.monotonic()))
        began_s, cpu_s = time.perf_counter(), time.thread_time()
        pictures = [frame.fitted(width=WIDTH, height=HEIGHT) for frame in decoder.decode(unit)]
        latency_ms = (time.perf_counter() - began_s) * 1e3
        if len(pictures) != 1 or pictures[0] is None:
            raise RuntimeError(f"picture {place} did not come")

        if place == 0:
            spent.first_ms.append(latency_ms)
            before = decoders_cpu_ms()
            continue
        spent.latency_ms.append(latency_ms)
        worker_ms += (time.thread_time() - cpu_s) * 1e3
    spent.worker_cpu_ms.append(worker_ms / (len(units) - 1))
    # Those that were there all the time: others are of the publication before.
    after = decoders_cpu_ms()
    decoder_ms = sum(after[pid] - before[pid] for pid in before if pid in after)
    spent.decoder_cpu_ms.append(decoder_ms / (len(units) - 1))
    decoder.close()


def measure_first(decoders: Decoders, unit: AccessUnit, spent: Spent) -> None:
    """Fresh decoders, one after another, as publications begin."""
    for _ in range(STARTS):
        time.sleep(BETWEEN_STARTS_S)
        began_s = time.perf_counter()
        decoder = decoders(unit.codec, holdings=Holdings())
        (frame,) = decoder.decode(unit)
        frame.fitted(width=WIDTH, height=HEIGHT)
        spent.first_ms.append((time.perf_counter() - began_s) * 1e3)
        decoder.close()


def has_priority() -> bool:
    """Whether this was started by `chrt -f`: on a busy machine each turn to another process waits for a turn else."""
    return os.sched_getscheduler(0) == os.SCHED_FIFO


@contextmanager
def nursery() -> Iterator[Nursery]:
    made = Nursery(clock=SystemClock(), metrics=WorkerMetrics(CollectorRegistry()))
    made.start()
    asyncio.run(made.ready())
    try:
        yield made
    finally:
        made.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.decode", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    arguments = parser.parse_args()

    rows, labels, values = [], [], []
    with nursery() as apart:
        ways: dict[str, Decoders] = {
            "in the worker": InProcess().for_session("bench/0"),
            "out of process": apart.for_session("bench/0"),
        }
        for codec in Codec:
            units = stream(codec)
            spent = {way: Spent() for way in ways}
            # In turns, so that both meet the same noise.
            for _ in range(ROUNDS):
                for way, decoders in ways.items():
                    measure(decoders, units, spent[way])
            for way, decoders in ways.items():
                measure_first(decoders, units[0], spent[way])
            for way, one in spent.items():
                p50, p99 = (percentile(one.latency_ms, share) for share in (0.5, 0.99))
                worker_ms, decoder_ms = (percentile(cpu, 0.5) for cpu in (one.worker_cpu_ms, one.decoder_cpu_ms))
                first_ms = percentile(one.first_ms, 0.5)
                figures = (p50, p99, worker_ms, decoder_ms, first_ms)
                rows.append((codec.name, way, *(f"{figure:.2f}" for figure in figures)))
                labels.append(f"{codec.name}, {way}")
                values.append(p50)
    table = Table(
        title="Decoding in the worker and out of process",
        columns=(
            *("codec", "decoding", "p50 ms", "p99 ms"),
            *(
                "worker's CPU ms/picture",
                "decoder's process, CPU ms/picture",
                "a fresh decoder's first picture, p50 ms",
            ),
        ),
        rows=tuple(rows),
        note=(
            f"The test card at {WIDTH}x{HEIGHT}, {BIT_RATE / 1e6:g} Mbit/s at {RATE} pictures per second, one picture "
            f"every {PACE_S * 1000:.0f} ms: from the coded picture to one in RGB. Out of process it crosses to a "
            "decoder's process and back. A fresh decoder there is the spare one that the nursery keeps."
            + (" Run with real-time priority, beside other work." if has_priority() else "")
        ),
    )
    print(table.markdown())
    if arguments.json:
        save(arguments.json, [table], [Series("Decoding, latency p50", tuple(labels), tuple(values), "ms")])


if __name__ == "__main__":
    main()
