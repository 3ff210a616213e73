"""Counts the files that somebody who follows one thing through Genlock has to open: `python -m tests.walks`.

A walk is the distinct product files entered, in the order of their first entry. Four things are followed, each in one
process with a real Redis, real WebRTC clients, one gateway and one worker with the mock engine (`--instant`):

- `frame`: from a publisher's RTP packet to a viewer's. A function is on the walk if it runs with frames (once for
  every eight frames at least) and at least three times as often as in an equally long time without a publisher.
- `main`: the same, but only functions that are handed the frame itself: an argument (`self` aside) that is, or holds,
  a hundred bytes of packet or a picture. This is the frame's main line. What stands behind the engine's door and what
  stores snapshots lies beside it and is left out.
- `worker`: the files of `frame` that a worker enters (worker and core).
- `control`: from a PATCH of a session's controls to the engine; counted against an equally long time in which
  nothing happens.
- `snapshot`: everything below the functions of the snapshots' own modules, while frames flow.

The rules name no function and no class, so that two versions can be compared: run this file over both trees.
"""

import asyncio
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

import tests.worker.house
from genlock_cli.redis_server import RedisProcess
from genlock_core.media import Codec
from tests.gateway.installation import Installation, Peer, until, viewer_of
from tests.gateway.rtc.clips import encode
from tests.worker.house import House

WINDOW_S = 4.0
FRAME_RATE = 16
PARTS = ("core", "worker", "gateway")
FRAME_BYTES = 100
DEPTH = 3
SNAPSHOT_WORDS = ("snapshot", "checkpoint")
BEHIND_THE_ENGINE = (
    "engines/mock",
    "engines/algorithm",
    "engines/blend",
    "engines/flow",
    "engines/noise",
    "engines/ring",
)
CHANGES = 12


@dataclass(slots=True)
class Trace:
    """What was entered: how often each function, how often with the frame in its arguments, and in which order."""

    root: Path
    calls: Counter[CodeType] = field(default_factory=Counter)
    carrying: Counter[CodeType] = field(default_factory=Counter)
    below_snapshots: Counter[CodeType] = field(default_factory=Counter)
    _files: dict[str, str] = field(default_factory=dict)

    def file(self, code: CodeType) -> str:
        """The file below the repository, or "" if it is none of the product's."""
        name = self._files.get(code.co_filename)
        if name is None:
            path = Path(code.co_filename)
            inside = path.is_relative_to(self.root) and path.relative_to(self.root).parts[0] in PARTS
            name = self._files[code.co_filename] = str(path.relative_to(self.root)) if inside else ""
        return name

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call" or not self.file(frame.f_code):
            return
        code = frame.f_code
        self.calls[code] += 1
        if carries(frame):
            self.carrying[code] += 1
        if self._is_below_snapshots(frame):
            self.below_snapshots[code] += 1

    def _is_below_snapshots(self, frame: FrameType) -> bool:
        above: FrameType | None = frame
        while above is not None:
            if any(word in self.file(above.f_code) for word in SNAPSHOT_WORDS):
                return True
            above = above.f_back
        return False


def carries(frame: FrameType) -> bool:
    """Whether one of the arguments, `self` aside, is or holds packet bytes or a picture."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    values = frame.f_locals
    return any(holds_frame(values.get(name), DEPTH) for name in names if name not in ("self", "cls"))


def holds_frame(value: object, depth: int) -> bool:
    """Whether a value is a frame's data, or plain data that holds it."""
    if isinstance(value, bytes | bytearray | memoryview):
        return len(value) >= FRAME_BYTES
    if isinstance(value, np.ndarray):
        return value.size >= FRAME_BYTES
    if depth == 0 or value is None or isinstance(value, str | int | float | type) or callable(value):
        return False
    if isinstance(value, list | tuple):
        return any(holds_frame(one, depth - 1) for one in value[:4])
    # Only plain data holds a frame; an object that acts has state of its own, which is not what it was handed.
    if not is_dataclass(value) or not vars(type(value))["__dataclass_params__"].frozen:
        return False
    return any(holds_frame(getattr(value, one.name, None), depth - 1) for one in fields(value))


@contextmanager
def tracing(switch: list[Trace | None], trace: Trace) -> Iterator[Trace]:
    switch[0] = trace
    yield trace
    switch[0] = None


def watch_threads(switch: list[Trace | None]) -> None:
    """Every thread that starts from now on, and this one, tells the trace that is switched on."""

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        trace = switch[0]
        if trace is not None:
            trace(frame, event, argument)

    threading.setprofile(profile)
    sys.setprofile(profile)


def walk(trace: Trace, counts: Counter[CodeType], *, least: float, without: Counter[str]) -> list[str]:
    """The files of the functions that run at least `least` times, and three times as often as without the thing."""
    files: dict[str, None] = {}
    for code, count in counts.items():
        if count >= least and count >= 3 * without[name_of(trace, code)]:
            files.setdefault(trace.file(code))
    return list(files)


def name_of(trace: Trace, code: CodeType) -> str:
    return f"{trace.file(code)}:{code.co_qualname}"


def named(trace: Trace) -> Counter[str]:
    return Counter({name_of(trace, code): count for code, count in trace.calls.items()})


async def publish(installation: Installation, peer: Peer, seconds: float) -> int:
    """Send frames at the session's rate; how many."""
    publisher = installation.cameras[-1].publisher
    units = encode(Codec.H264, FRAME_RATE * 2, width=160, height=128, fps=FRAME_RATE)
    began = time.monotonic()
    sent = 0
    while time.monotonic() - began < seconds:
        unit = units[sent % len(units)]
        at_us = round((time.monotonic() - began + time.monotonic()) * 1e6)
        publisher.send([type(unit)(unit.codec, unit.data, key_frame=unit.key_frame, capture_us=at_us)])
        sent += 1
        await asyncio.sleep(max(0.0, began + sent / FRAME_RATE - time.monotonic()))
    return sent


async def measure(root: Path, redis_url: str, switch: list[Trace | None]) -> dict[str, list[str]]:
    """Bring everything up, and count each walk."""
    installation = Installation(redis_url)
    tests.worker.house.SECRET = installation.keyring.link_secrets()[0]  # type: ignore[attr-defined]
    house = House(redis_url)
    try:
        gateway = await installation.gateway()
        await house.start_worker("w0")
        session = await installation.session(frameRate=FRAME_RATE, steps=2)
        viewer = await installation.view(gateway)
        camera = await installation.publish(gateway, start=False)
        await publish(installation, camera, 3.0)
        await until(lambda: bool(viewer_of(viewer).pictures))

        # Without a publisher's frames: what runs all the same.
        await asyncio.sleep(1.0)
        with tracing(switch, Trace(root)) as idle:
            await asyncio.sleep(WINDOW_S)
        quiet = named(idle)

        with tracing(switch, Trace(root)) as steered:
            for number in range(CHANGES):
                answer = await gateway.http.patch(
                    f"/api/v1/sessions/{session}/control",
                    json={"prompt": f"ink {number}", "steps": 1 + number % 2},
                    headers=installation.token(),
                )
                assert answer.status_code == 202, answer.text
                await asyncio.sleep(WINDOW_S / CHANGES)

        with tracing(switch, Trace(root)) as flowing:
            sent = await publish(installation, camera, WINDOW_S)
    finally:
        await installation.close()
        await house.close()
    frame = walk(flowing, flowing.calls, least=sent / 8, without=quiet)
    return {
        "frame": frame,
        "main": on_the_way(walk(flowing, flowing.carrying, least=sent / 8, without=quiet)),
        "worker": [file for file in frame if not file.startswith("gateway")],
        "control": walk(steered, steered.calls, least=CHANGES / 2, without=quiet),
        "snapshot": walk(flowing, flowing.below_snapshots, least=3, without=Counter()),
    }


def on_the_way(files: list[str]) -> list[str]:
    """Without what lies behind the engine's own module, and without the snapshots."""
    beside = (*SNAPSHOT_WORDS, "stream_state")
    return [
        file
        for file in files
        if not any(word in file for word in beside)
        and (file.endswith("mock/engine.py") or not any(word in file for word in BEHIND_THE_ENGINE))
    ]


def report(walks: dict[str, list[str]], say: Callable[[str], None]) -> None:
    for name, files in walks.items():
        say(f"{name}: {len(files)} files")
        for number, file in enumerate(files, start=1):
            say(f"  {number:2d} {file}")
    say(" ".join(f"{name}={len(files)}" for name, files in walks.items()))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> None:
    switch: list[Trace | None] = [None]
    watch_threads(switch)
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder)) as server:
        walks = asyncio.run(measure(root, server.url, switch))
    report(walks, say)


if __name__ == "__main__":
    main()
