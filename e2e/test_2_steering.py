"""`kubectl patch` reaches the running stream; a change that needs other hardware moves it there, sinks and all."""

import math
import sys

from e2e.install import STUDIO
from e2e.kubectl import Cluster, eventually, run, status
from e2e.show import Show
from e2e.watcher import Suffered
from genlock_core.tokens import Role


async def test_a_new_prompt_repaints_the_picture(cluster: Cluster, show: Show, undisturbed: Suffered) -> None:
    before = show.watcher.colour
    await show.patch(prompt="neon lights in the rain")
    await eventually(
        show.view,
        lambda seen: (seen.get("stats") or {}).get("prompt") == "neon lights in the rain",
        what="the worker paints the new prompt",
    )

    async def difference() -> float:
        return math.dist(before, show.watcher.colour)

    await eventually(difference, lambda far: far > 12, what="the picture changes")
    told = await cluster.events(STUDIO, show.name)
    assert "Steered" in {reason for reason, _ in told}, told


async def test_more_steps_that_one_gpu_can_take_stay_where_they_are(show: Show, undisturbed: Suffered) -> None:
    """24 frames a second were measured at two steps: enough for 20."""
    before = await show.view()
    await show.patch(steps=2)
    after = await eventually(
        show.view, lambda seen: (seen.get("stats") or {}).get("requestedSteps") == 2, what="two steps in use"
    )
    assert (after["worker"], after["epoch"]) == (before["worker"], before["epoch"])


async def test_more_steps_than_one_gpu_can_take_move_the_stream_to_two(show: Show, undisturbed: Suffered) -> None:
    """19.4 frames a second were measured at four steps on one GPU: not 20. On two GPUs it is 37."""
    before = await show.live()
    assert status(await show.resource())["gpus"] == 1
    await show.patch(steps=4)
    after = await show.live(after_epoch=before["epoch"])
    assert after["worker"] != before["worker"]
    assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]
    told = status(await show.told(after["worker"]))
    assert told["gpus"] == 2
    await eventually(
        show.view, lambda seen: (seen.get("stats") or {}).get("requestedSteps") == 4, what="four steps in use"
    )


async def test_a_person_moves_it_back_by_hand(show: Show, undisturbed: Suffered) -> None:
    """One that still meets its service levels is left where it is; `genlock session move` brings it to the cheapest."""
    before = await show.live()
    await show.patch(steps=1)
    await eventually(show.resource, lambda seen: status(seen).get("steps") == 1, what="status says one step")
    assert (await show.live())["worker"] == before["worker"]
    gateway = status(await show.resource())["endpoints"]["whip"].split("/whip/")[0]
    await move(show, gateway)
    after = await show.live(after_epoch=before["epoch"])
    assert after["stats"]["sinkDigest"] == before["stats"]["sinkDigest"]
    assert status(await show.told(after["worker"]))["gpus"] == 1


async def move(show: Show, gateway: str) -> None:
    await run(
        *(sys.executable, "-m", "genlock_cli.main", "session", "move", f"{show.namespace}/{show.name}"),
        *("--gateway", gateway, "--token", show.token(Role.ADMIN)),
    )
