"""How many generated frames per second one core gives with the mock engine: decode, chunk, paint, encode.

In one thread and without a model's timing, so that only the work itself counts; measured in CPU time of the process,
which a busy machine does not falsify. The baseline is the same path without the engine: decode, then encode.
"""

import argparse
import time
from pathlib import Path

import cv2

from bench.result import Series, Table, save
from genlock_core.clock import SystemClock
from genlock_core.media import AccessUnit, Codec, SourcePosition
from genlock_worker.engines.contract import Chunk, StreamSettings
from genlock_worker.engines.mock import MockEngine, StepTiming
from genlock_worker.engines.stepwise import Stepwise
from genlock_worker.intake.chunks import ChunkFormer, SourceFrame
from genlock_worker.intake.decode import Decoder
from genlock_worker.intake.pattern import draw
from genlock_worker.intake.picture import Picture
from genlock_worker.output.encode import Encoder, EncoderSettings, open_encoder

WIDTH, HEIGHT, RATE = 832, 480, 16
FRAMES = 101
"""A first chunk of 5 frames and 24 of 4."""
STEPS = (1, 2, 4)
PROMPT = "a watercolour city at dusk"
SESSION = "bench/demo"


def encoder() -> Encoder:
    return open_encoder(Codec.H264, EncoderSettings(WIDTH, HEIGHT, RATE, 1_500_000))


def source_units() -> list[AccessUnit]:
    """The test pattern as a publisher sends it."""
    publisher = encoder()
    period_us = 1_000_000 / RATE
    return [
        publisher.encode(draw(index, width=WIDTH, height=HEIGHT), capture_us=round(index * period_us), idr=index == 0)
        for index in range(FRAMES)
    ]


class Stopwatch:
    """CPU seconds of this process, by what they were spent on."""

    def __init__(self) -> None:
        self.spent = {"decode": 0.0, "paint": 0.0, "encode": 0.0}
        self._since = time.process_time()

    def lap(self, name: str) -> None:
        now = time.process_time()
        self.spent[name] += now - self._since
        self._since = now

    @property
    def total(self) -> float:
        return sum(self.spent.values())


def copy_through(units: list[AccessUnit]) -> Stopwatch:
    """The baseline: decode and encode, nothing between."""
    decoder, output, watch = Decoder(Codec.H264), encoder(), Stopwatch()
    for unit in units:
        picture = decoded(decoder, unit)
        watch.lap("decode")
        output.encode(picture, capture_us=unit.capture_us, idr=False)
        watch.lap("encode")
    return watch


def decoded(decoder: Decoder, unit: AccessUnit) -> Picture:
    frames = decoder.decode(unit)
    if len(frames) != 1:
        raise RuntimeError("a frame of the test pattern cannot be decoded")
    return frames[0].fitted(width=WIDTH, height=HEIGHT)


def generate(units: list[AccessUnit], steps: int) -> tuple[Stopwatch, int]:
    """The worker's path with `steps` denoising steps; also how many frames came out."""
    engine = Stepwise(MockEngine("wan2.1-1.3b", StepTiming.instant(), SystemClock(), time.sleep))
    engine.open(SESSION, StreamSettings(PROMPT, steps, WIDTH, HEIGHT, RATE, seed=7, noise_scale=0.7))
    decoder, former, output = Decoder(Codec.H264), ChunkFormer(frame_rate=RATE), encoder()
    watch, made, index = Stopwatch(), 0, 0
    for unit in units:
        frame = SourceFrame(SourcePosition(1, unit.capture_us), decoded(decoder, unit), 0.0)
        chunks = former.add(frame)
        watch.lap("decode")
        for chunk in chunks:
            pictures = list(engine.show(SESSION, Chunk(index, chunk.pixels())))
            index += 1
            watch.lap("paint")
            for picture in pictures:
                output.encode(picture, capture_us=made, idr=False)
                made += 1
            watch.lap("encode")
    return watch, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the result goes; without it the table is printed")
    target = parser.parse_args().json
    cv2.setNumThreads(1)
    units = source_units()
    copy_through(units[:20])  # warm caches and imports
    baseline = copy_through(units)
    base_fps = FRAMES / baseline.total
    labels, values = ["decode and encode only"], [base_fps]
    rows = [row("decode and encode only", baseline, FRAMES, base_fps)]
    for steps in STEPS:
        watch, made = generate(units, steps)
        label = f"mock engine, {steps} step{'s' if steps > 1 else ''}"
        rows.append(row(label, watch, made, base_fps))
        labels.append(label)
        values.append(made / watch.total)
    table = Table(
        title="Mock engine: frames per second of one core",
        columns=(
            "path",
            "decode ms",
            "paint ms",
            "encode ms",
            "frames/s per core",
            "of the baseline",
            "16 fps sessions",
        ),
        rows=tuple(rows),
        note=(
            f"{WIDTH}x{HEIGHT}, H264 in and out, CPU time of one process with one thread per part; "
            "the baseline is the same path without the engine. No model's timing is simulated."
        ),
    )
    series = Series("Generated frames per second and core", tuple(labels), tuple(values), "frames per CPU second")
    if target is None:
        print(table.markdown())
    else:
        save(target, [table], [series])


def row(label: str, watch: Stopwatch, frames: int, base_fps: float) -> tuple[str, ...]:
    per_frame = [f"{seconds * 1000 / frames:.2f}" for seconds in watch.spent.values()]
    fps = frames / watch.total
    return (label, *per_frame, f"{fps:.0f}", f"{fps / base_fps:.2f}", f"{fps / RATE:.1f}")


if __name__ == "__main__":
    main()
