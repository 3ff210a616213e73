"""What a stream takes of a core beside the engine: its pictures are encoded, and its source's decoded, on CPUs.

H100 and H200 have no encoder of their own (NVENC), so x264 does it there. Settings are the product's. CPU time of the
process, with nothing beside it in there; one thread for each encoder.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.result import Series, Table, save
from genlock_core.bounds import Holdings
from genlock_core.media import AccessUnit, Codec
from genlock_worker.intake.decode import Decoder
from genlock_worker.intake.pattern import draw
from genlock_worker.intake.picture import Picture
from genlock_worker.output.encode import EncoderSettings, open_encoder

SIZES = ((512, 512), (832, 480))
SOURCE = (1280, 720)
"""Of a camera like most."""
RATE = 16
CAMERA_RATE = 30
BIT_RATE = 1_500_000
"""The default of a session."""
GRAIN = 4.0
"""Standard deviation, in levels of 255: a generated picture is never as smooth as the test card."""
PICTURES = 48
ROUNDS = 5
NAMES = {Codec.H264: "H264 (x264)", Codec.VP8: "VP8 (libvpx)"}


def pictures(width: int, height: int) -> list[Picture]:
    """The moving test card with grain, which an encoder has to work for."""
    chance = np.random.default_rng(1)
    return [
        np.clip(draw(i, width=width, height=height) + chance.normal(0, GRAIN, (height, width, 1)), 0, 255).astype(
            np.uint8
        )
        for i in range(PICTURES)
    ]


def encoded(codec: Codec, size: tuple[int, int], rate: int) -> Callable[[], list[AccessUnit]]:
    """Encodes all pictures with a fresh encoder."""
    given = pictures(*size)

    def work() -> list[AccessUnit]:
        encoder = open_encoder(codec, EncoderSettings(*size, rate, BIT_RATE))
        return [encoder.encode(one, capture_us=i * 1_000_000 // rate, idr=i == 0) for i, one in enumerate(given)]

    return work


def decoded(units: list[AccessUnit], size: tuple[int, int]) -> Callable[[], None]:
    """Decodes a camera's stream, and brings each picture to the session's size."""

    def work() -> None:
        decoder = Decoder(units[0].codec, holdings=Holdings())
        for unit in units:
            for frame in decoder.decode(unit):
                frame.fitted(width=size[0], height=size[1])

    return work


def picture_ms(work: Callable[[], object]) -> float:
    """CPU milliseconds of a picture, the least of some rounds: what others do beside it only adds."""
    taken = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        work()
        taken.append((time.process_time() - began_s) / PICTURES * 1e3)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.encode", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the result goes")
    arguments = parser.parse_args()

    camera = encoded(Codec.H264, SOURCE, CAMERA_RATE)()
    rows = []
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        works = [(f"encode {NAMES[codec]}", picture_ms(encoded(codec, size, RATE)), RATE) for codec in NAMES]
        works.append((f"decode and scale H264 {SOURCE[0]}x{SOURCE[1]}", picture_ms(decoded(camera, size)), CAMERA_RATE))
        rows += [(name, what, f"{ms:.2f}", f"{rate}", ms * rate / 1e3) for what, ms, rate in works]

    table = Table(
        title="What a stream takes of a core",
        columns=("session", "work", "CPU ms a picture", "pictures a second", "cores", "streams a core"),
        rows=tuple((*row[:4], f"{row[4]:.3f}", f"{1 / row[4]:.0f}") for row in rows),
        note=(
            "H100 and H200 have no encoder of their own (NVENC): worker pods encode and decode on CPUs, with the "
            f"product's settings. The moving test card with grain, {BIT_RATE / 1e6:g} Mbit/s. A session encodes each "
            "picture once for each codec that its viewers have, however many they are."
        ),
    )
    plot = Series(
        name="Cores of a stream",
        labels=tuple(f"{row[0]}, {row[1]}" for row in rows),
        values=tuple(row[4] for row in rows),
        unit="cores",
    )
    save(arguments.json, [table], [plot])


if __name__ == "__main__":
    main()
