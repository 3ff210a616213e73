"""Processes that end, hang or leave: workers, gateways, publishers."""

import asyncio
import contextlib
import signal

from bench.chaos.stage import Stage, until
from genlock_cli.up.children import Child, ChildState


async def end(*children: Child, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal, and wait until they were started again."""
    restarts = {child: child.restarts for child in children}
    for child in children:
        child.send_signal(number)

    async def missing() -> str:
        same = [child.plan.name for child, count in restarts.items() if child.restarts == count]
        late = [child.plan.name for child in children if child.state is not ChildState.READY]
        return f"{same + late} to be started again" if same or late else ""

    await until(missing, "in time")


async def worker_killed(stage: Stage) -> list[str]:
    return await _end_worker(stage, signal.SIGKILL)


async def worker_drained(stage: Stage) -> list[str]:
    return await _end_worker(stage, signal.SIGTERM)


async def _end_worker(stage: Stage, number: signal.Signals) -> list[str]:
    child = await stage.mortal_worker()
    hit = await stage.streams_of(child)
    await end(child, number=number)
    return hit


async def workers_killed(stage: Stage) -> list[str]:
    mortal = stage.mortal("worker")
    hit = await stage.streams_of(*mortal)
    await end(*mortal)
    return hit


async def worker_hangs(stage: Stage) -> list[str]:
    """It goes on afterwards, and believes that it owns what it owned."""
    child = await stage.worker_of(stage.any_stream())
    hit = await stage.streams_of(child)
    child.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(stage.sick_s)
    finally:
        child.send_signal(signal.SIGCONT)
    return hit


async def gateway_killed(stage: Stage) -> list[str]:
    return await _end_gateway(stage, signal.SIGKILL)


async def gateway_drained(stage: Stage) -> list[str]:
    """With `genlock up` there is one gateway at each address: its clients wait until it is there again."""
    return await _end_gateway(stage, signal.SIGTERM)


async def _end_gateway(stage: Stage, number: signal.Signals) -> list[str]:
    """Clients have to find out by themselves, so a connection that ends is not counted."""
    child = stage.random.choice(stage.mortal("gateway"))
    with contextlib.ExitStack() as stack:
        for stream in stage.streams:
            stack.enter_context(stream.watcher.excused())
        await end(child, number=number)
        await stage.well()
    return await stage.streams_of(child)


async def publisher_killed(stage: Stage) -> list[str]:
    """Another one comes, and waits until the slot is free."""
    stream = stage.any_stream()
    with stream.watcher.another_source():
        await stream.publish_again()
        await stage.well()
    return [stream.name]
