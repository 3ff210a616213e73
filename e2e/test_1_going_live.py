"""A session is applied: it gets a worker of the size that it needs, goes live, and is watched from outside."""

import json
import time

import pytest

from e2e.install import NAMESPACE, STUDIO
from e2e.kubectl import Cluster, apply, condition, eventually, kubectl, refusal, status
from e2e.parts import assigned
from e2e.seen import say
from e2e.show import FRAME_RATE, Show, session


async def test_a_session_gets_a_warm_worker_at_once(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    await eventually(
        lambda: cluster.pool(NAMESPACE, "h100x1"), lambda seen: status(seen).get("ready", 0) >= 1, what="a warm worker"
    )
    began = time.monotonic()
    await apply(session("quick", qualityMode="low-latency", frameRate=12))
    applied = time.monotonic()
    told = await assigned(cluster, "quick")
    say(request, f"kubectl apply {applied - began:.2f} s, Assigned seen {time.monotonic() - applied:.2f} s later")
    assert told["phase"] == "Assigned"
    assert (told["gpus"], told["gpuShare"]) == (1, 0.5)  # 26 fps measured at 512x512 and one step: two of 12 fps
    assert str(told["pool"]).endswith("h100x1")
    table = await kubectl("get", "ssn", "quick", "--namespace", STUDIO)
    titles, row = table.splitlines()
    assert {"MODEL", "MODE", "STEPS", "GPUS", "WORKER", "PHASE", "FPS", "TTFF", "AGE"} <= set(titles.split()), titles
    assert str(told["worker"]) in row
    await kubectl("delete", "ssn", "quick", "--namespace", STUDIO)


async def test_quality_at_four_steps_takes_two_gpus(cluster: Cluster) -> None:
    """One H100 makes 13.95 frames a second at 832x480 and four steps: not the 16 that are asked for."""
    await apply(session("gallery", qualityMode="quality", frameRate=16))
    told = await assigned(cluster, "gallery")
    assert (told["gpus"], told["gpuShare"], told["steps"]) == (2, 2, 4)
    assert str(told["pool"]).endswith("h100x2")
    await kubectl("delete", "ssn", "gallery", "--namespace", STUDIO)


async def test_a_publisher_outside_makes_it_live_and_a_viewer_outside_sees_it(show: Show) -> None:
    await show.watcher.frames(2 * FRAME_RATE)
    told = await eventually(
        show.resource, lambda seen: condition(seen, "Live")[:2] == ("True", "Streaming"), what="Live"
    )
    assert status(told)["phase"] == "Live"
    assert status(told)["gpus"] == 1
    view = await show.view()
    assert view["worker"] == status(told)["worker"]
    assert view["stats"]["outputFps"] > FRAME_RATE / 2


async def test_the_status_shows_the_streams_figures(show: Show) -> None:
    # The first figures may be older than the viewer; the next ones come half a minute later.
    told = await eventually(
        show.resource,
        lambda seen: "figures" in status(seen) and status(seen)["viewers"] >= 1,
        what="figures in status, with the viewer in them",
        within_s=90.0,
    )
    figures = status(told)["figures"]
    assert figures["outputFps"] > FRAME_RATE / 2
    assert figures["firstFrameMs"] > 0


async def test_what_is_invalid_is_refused_by_the_api_server(cluster: Cluster) -> None:

    odd = session("odd", resolution={"width": 500, "height": 512})
    assert "multiple of 16" in await refusal("apply", "-f", "-", stdin=json.dumps(odd))
    answer = await refusal(
        "patch", "ssn", "show", "--namespace", STUDIO, "--type=merge", "-p", '{"spec":{"frameRate":30}}'
    )
    assert "cannot be changed" in answer
