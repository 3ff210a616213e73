"""Workers of a benchmark as the claims see them: many in one process, with heartbeats and nothing behind them."""

import argparse
import asyncio
import sys
from dataclasses import dataclass

from genlock_core import store
from genlock_core.claims.claims import Claims
from genlock_core.claims.identity import CAPACITY, WorkerIdentity, WorkerOffer
from genlock_core.claims.liveness import RENEW_EVERY_S
from genlock_core.stream_state.formats import READABLE


@dataclass(slots=True)
class Beats:
    """What became of the heartbeats."""

    late: int = 0
    """Rounds that came later than a heartbeat may be old."""


async def beat(claims: Claims, offer: WorkerOffer, number: int, count: int, beats: Beats) -> None:
    """Heartbeats for ever, those of different workers spread over time."""
    loop = asyncio.get_running_loop()
    due_s = loop.time() + RENEW_EVERY_S * number / count
    progress = 0
    while True:
        await asyncio.sleep(due_s - loop.time())
        progress += 1
        await claims.renew(offer.identity, progress=progress, links={})
        beats.late += loop.time() - due_s > RENEW_EVERY_S
        due_s = max(due_s + RENEW_EVERY_S, loop.time())


async def run(url: str, *, pool: str, model: str, product: str, count: int) -> None:
    redis = store.connect(url)
    claims = Claims(redis)
    offers = [
        WorkerOffer(
            identity=WorkerIdentity.fresh(f"fake-{number:03}"),
            pool=pool,
            model=model,
            capacity=CAPACITY,
            address="127.0.0.1:9",
            formats=READABLE,
            gpu_product=product,
            gpus=1,
        )
        for number in range(count)
    ]
    for offer in offers:
        await claims.register(offer)
    beats = Beats()
    print("ready", flush=True)
    tasks = [asyncio.create_task(beat(claims, offer, number, count, beats)) for number, offer in enumerate(offers)]
    while await asyncio.to_thread(sys.stdin.readline):  # each line is a question; the end of input ends it
        print(f"late {beats.late}", flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await redis.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.operator_workers", description=__doc__)
    for name in ("redis", "pool", "model", "product"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(
        run(options.redis, pool=options.pool, model=options.model, product=options.product, count=options.count)
    )


if __name__ == "__main__":
    main()
