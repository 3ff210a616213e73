"""Records the snapshots of a release: `python -m tests.releases.record COMMIT`, with the release's wheel in its folder.

Workers of the release serve many sessions at once, so that each has chunks in flight whenever it stores something. What
they stored is taken from Redis as it lies there. A worker is driven by its command line, Redis and the link alone,
which every release understands.
"""

import asyncio
import json
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import redis

from genlock_cli.redis_server import RedisProcess
from genlock_core.claims.claims import Claims
from genlock_core.claims.record import PoolChoice, SessionRecord
from genlock_core.process.tasks import end_tasks
from genlock_core.spec.session import SessionKey, StreamSessionSpec, resolve
from genlock_core.store import connect
from genlock_core.stream_state import keys
from genlock_core.stream_state.control import ControlChange, ControlStream
from genlock_core.stream_state.snapshot import decode
from genlock_core.tokens import Keyring, generate_secrets
from tests.process.local import eventually
from tests.releases.recorded import FACTS, HEAD, block_file
from tests.releases.worker_process import RELEASES, Surroundings, unpack
from tests.worker.gateway import FakeGateway, Viewer

FRAME_RATE = 30
SIDE = 64
COST = 100
STEADY_CHUNK = 6
TEXT_ONLY = {"type": "none"}
CAMERA = {"type": "testPattern"}

ENGINES = {
    # As slow as that, the mock cannot finish a chunk before the next one comes.
    "mock": ("--engine", "mock", "--model", "wan2.1-1.3b", "--measured-fps", '{"64x64":{"1":90,"2":80,"3":70,"4":60}}'),
    "diffusion": (
        *("--engine", "diffusion", "--model", "tiny", "--gpu-product", "CPU", "--gpus", "1"),
        *("--device", "cpu", "--threads", "1", "--sink-threshold", "off"),
    ),
}
MODELS = {"mock": "wan2.1-1.3b", "diffusion": "tiny"}
SESSIONS: dict[str, tuple[dict[str, str], int]] = {
    "camera-1": (CAMERA, 1),
    "camera-2": (CAMERA, 2),
    "camera-4": (CAMERA, 4),
    "camera-4-to-2": (CAMERA, 4),
    "text-2": (TEXT_ONLY, 2),
    "text-4": (TEXT_ONLY, 4),
}
CHANGED = "camera-4-to-2"
"""This one is told to take two steps, four again, and so on, with another prompt each time, until its snapshot has
chunks of both in flight."""
CHANGES_EVERY_S = 0.15
PROMPTS = {2: "a blueprint", 4: "thick oil paint, impressionist"}


def in_flight_wanted(name: str, steps: list[int]) -> bool:
    """Whether chunks in flight of these step counts are what a recording of that session is to show."""
    if name == CHANGED:
        return set(steps) == {2, 4}
    return len(steps) >= min(2, SESSIONS[name][1] - 1)


async def record(release: str, engine: str, *, redis_url: str, logs: Path) -> None:
    async with watched(engine, redis_url=redis_url, logs=logs, code=unpack(release, logs)) as viewers:
        await asyncio.gather(
            *(_record_one(release, engine, name, viewer, redis_url) for name, viewer in viewers.items())
        )


@asynccontextmanager
async def watched(engine: str, *, redis_url: str, logs: Path, code: Path | None) -> AsyncIterator[Mapping[str, Viewer]]:
    """All of SESSIONS on one worker, of that code or of today's, and a viewer of each."""
    secrets = generate_secrets()
    store = connect(redis_url)
    claims = Claims(store)
    gateway = FakeGateway(secrets=Keyring.parse(secrets).link_secrets())
    worker = await Surroundings(redis_url, secrets, logs, ENGINES[engine]).start("w0", code=code)
    try:
        viewers = {}
        for name, (source, steps) in SESSIONS.items():
            spec = StreamSessionSpec.model_validate(
                {
                    "model": MODELS[engine],
                    "source": source,
                    "steps": steps,
                    "prompt": PROMPTS[4],
                    "seed": 7,
                    "resolution": {"width": SIDE, "height": SIDE},
                    "frameRate": FRAME_RATE,
                    "approximation": {"policy": "Never"},
                }
            )
            session = resolve(SessionKey(name=name), spec)
            await claims.create(SessionRecord(session=session, pools=(PoolChoice("local", COST),)))
            claim = await claims.claim(str(session.key))
            viewers[name] = await gateway.open(claim.address, str(session.key), claim.epoch)
        yield viewers
    finally:
        await gateway.close()
        await worker.kill()
        await store.aclose()


async def _record_one(release: str, engine: str, name: str, viewer: Viewer, redis_url: str) -> None:
    session = f"default/{name}"
    with redis.Redis.from_url(redis_url) as client:
        found: dict[str, Any] = {}

        def look(wanted: Callable[[int, list[int]], bool]) -> bool:
            # In one transaction, so that head and blocks belong together.
            with client.pipeline(transaction=True) as both:
                both.hget(keys.snapshot_meta(session), "head")
                both.hgetall(keys.snapshot_frames(session))
                head, blocks = both.execute()
            if head is None:
                return False
            named = {block_id.decode(): data for block_id, data in blocks.items()}
            snapshot = decode(head, named, session=session, model=MODELS[engine])
            steps = [int(entry[1]) for entry in snapshot.attributes["flights"]]  # type: ignore[index,union-attr,arg-type]
            found.update(head=head, blocks=named)
            return wanted(snapshot.chunk, steps)

        async def is_steady() -> bool:
            # A report that is older than the last sink has another digest.
            has_sinks = bool(viewer.reports) and viewer.reports[-1].chunk >= STEADY_CHUNK
            return has_sinks and look(lambda chunk, _: chunk >= STEADY_CHUNK)

        async def is_wanted() -> bool:
            return look(lambda _, steps: in_flight_wanted(name, steps))

        changing = asyncio.create_task(_change_steps(session, redis_url)) if name == CHANGED else None
        await eventually(is_steady, what=f"{engine} {name} steady")
        await eventually(is_wanted, what=f"{engine} {name} with chunks in flight")
        if changing is not None:
            await end_tasks([changing])

    facts = {
        "name": name,
        "engine": engine,
        "session": session,
        "model": MODELS[engine],
        "sinkDigest": viewer.reports[-1].sink_digest,
    }
    path = RELEASES / release / "snapshots" / f"{engine}-{name}.zip"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(FACTS, json.dumps(facts, indent=1))
        archive.writestr(HEAD, found["head"])
        for block_id, data in sorted(found["blocks"].items()):
            archive.writestr(block_file(block_id), data)


async def _change_steps(session: str, redis_url: str) -> None:
    store = connect(redis_url)
    try:
        for number in count():
            steps = 4 if number % 2 else 2
            change = ControlChange(steps=steps, prompt=PROMPTS[steps])
            await ControlStream(store).append(session, client="recorder", number=number, change=change)
            await asyncio.sleep(CHANGES_EVERY_S)
    finally:
        await store.aclose()


def main() -> None:
    (release,) = sys.argv[1:]
    for engine in ENGINES:
        with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder) / "redis") as server:
            asyncio.run(record(release, engine, redis_url=server.url, logs=Path(folder)))


if __name__ == "__main__":
    main()
