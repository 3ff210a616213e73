"""Sessions by manifest over REST: created, updated, refused; all of a manifest or nothing of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import yaml

from genlock_core.claims.facts import EventKind
from genlock_core.spec.session import Phase
from genlock_core.stream_state.control import ControlChange, ControlStream
from genlock_core.tokens import Role
from tests.gateway.installation import Installation, Running

PATH = "/api/v1/sessions"


def manifest(*names: str, **spec: object) -> str:
    documents = [
        {
            "apiVersion": "genlock.dev/v1alpha1",
            "kind": "StreamSession",
            "metadata": {"name": name},
            "spec": {"prompt": "oil", "seed": 7, **spec},
        }
        for name in names
    ]
    return yaml.safe_dump_all(documents)


async def post(installation: Installation, gateway: Running, body: str) -> httpx.Response:
    headers = {**installation.token(role=Role.ADMIN), "Content-Type": "application/yaml"}
    return await gateway.http.post(PATH, content=body, headers=headers)


async def test_a_manifest_creates_sessions_and_again_changes_nothing(installation: Installation) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    created = await post(installation, gateway, manifest("one", "two"))
    assert (created.status_code, [one["name"] for one in created.json()]) == (201, ["one", "two"])
    again = await post(installation, gateway, manifest("one", "two"))
    assert (again.status_code, again.json()) == (200, created.json())


async def test_a_field_that_never_changes_is_refused_with_its_path_and_nothing_is_created(
    installation: Installation,
) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await post(installation, gateway, manifest("one"))
    refused = await post(installation, gateway, manifest("new", "one", seed=8, frameRate=12))
    assert refused.status_code == 422
    assert {error["path"] for error in refused.json()["errors"]} == {"spec.seed", "spec.frameRate"}
    assert (await gateway.http.get(f"{PATH}/default/new")).status_code == 404


async def test_a_reset_is_asked_for_by_whoever_may_steer_and_is_no_setting(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session()
    path, headers = f"{PATH}/default/demo/control", installation.token()
    accepted = await gateway.http.patch(path, json={"reset": True}, headers=headers)
    assert accepted.status_code == 202
    (entry,) = await ControlStream(installation.store).read("default/demo")
    assert (entry.id, entry.change) == (accepted.json()["id"], ControlChange(reset=True))
    shown = await gateway.http.get(f"{PATH}/default/demo")
    assert (shown.status_code, "reset" in shown.json()) == (200, False)
    for wrong in (False, "yes"):
        assert (await gateway.http.patch(path, json={"reset": wrong}, headers=headers)).status_code == 422


async def test_a_changed_manifest_steers_the_session_also_after_its_users_did(installation: Installation) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await post(installation, gateway, manifest("one"))
    await gateway.http.patch(
        f"{PATH}/default/one/control", json={"prompt": "ink", "steps": 4}, headers=installation.token("default/one")
    )
    updated = await post(installation, gateway, manifest("one", prompt="neon"))
    assert updated.status_code == 200
    shown = (await gateway.http.get(f"{PATH}/default/one")).json()
    assert (shown["prompt"], shown["steps"]) == ("neon", 4)


async def test_a_name_that_is_used_again_begins_without_the_old_data_and_keeps_its_own(
    installation: Installation,
) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    path, headers = f"{PATH}/default/one", installation.token("default/one")
    admin = installation.token(role=Role.ADMIN)

    async def data() -> list[bytes]:
        return [
            key for part in ("control", "snap") for key in await installation.store.keys(f"*{{default/one}}*{part}*")
        ]

    await post(installation, gateway, manifest("one"))
    await gateway.gateway.maintenance.stop()  # events are heard when the test says so
    await gateway.http.patch(f"{path}/control", json={"prompt": "ink"}, headers=headers)
    assert (await gateway.http.delete(path, headers=admin)).status_code == 204
    assert await data()
    before = await installation.claims.last_event()
    again = await post(installation, gateway, manifest("one", prompt="neon"))
    assert (again.status_code, again.json()[0]["phase"], again.json()[0]["prompt"]) == (201, "Pending", "neon")
    assert not await data(), "the old session's"
    await gateway.http.patch(f"{path}/control", json={"steps": 3}, headers=headers)
    mine = await data()
    assert mine
    record = await installation.claims.record("default/one")
    assert record is not None
    stream = gateway.gateway.hub.stream(record)
    events = await installation.claims.events(before, 100)
    late = [event for event in events if event.kind is EventKind.FORGOTTEN]
    assert len(late) == 1
    await gateway.gateway.maintenance._heard(late[0])
    assert await data() == mine
    assert not stream.end_reason
    for _ in range(2):
        assert (await gateway.http.delete(path, headers=admin)).status_code == 204
    assert not await data()


async def test_on_a_cluster_sessions_are_made_and_ended_with_kubectl_alone(installation: Installation) -> None:
    gateway, _ = await installation.gateway("g0", "--sessions", "cluster"), await installation.worker()
    await installation.worker("w1")
    await installation.session()
    await installation.claims.claim("default/demo")
    path, admin = f"{PATH}/default/demo", installation.token(role=Role.ADMIN)
    for refused in (
        await post(installation, gateway, manifest("one")),
        await gateway.http.delete(path, headers=admin),
    ):
        assert (refused.status_code, refused.headers["Content-Type"]) == (403, "application/problem+json")
        assert "kubectl" in refused.json()["detail"]
    assert (await gateway.http.get(path)).json()["phase"] == "Assigned"
    control = await gateway.http.patch(f"{path}/control", json={"steps": 1}, headers=installation.token())
    assert control.status_code == 202
    assert (await gateway.http.post(f"{path}/move", headers=admin)).status_code == 200


async def test_who_may_not_make_sessions_hears_that_first(installation: Installation) -> None:
    gateway = await installation.gateway("g0", "--sessions", "cluster")
    stranger = await gateway.http.post(PATH, content=manifest("one"), headers={"Content-Type": "application/yaml"})
    assert stranger.status_code == 401


async def test_a_low_latency_session_is_not_steered_to_more_steps_than_its_mode_takes(
    installation: Installation,
) -> None:
    gateway = await installation.gateway()
    await installation.session(qualityMode="low-latency", frameRate=16)
    path, headers = f"{PATH}/default/demo/control", installation.token()
    refused = await gateway.http.patch(path, json={"steps": 3, "prompt": "ink"}, headers=headers)
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "steps")
    assert (await gateway.http.patch(path, json={"steps": 2}, headers=headers)).status_code == 202
    assert (await gateway.http.get(f"{PATH}/default/demo")).json()["prompt"] == "a watercolour painting"


# -- what is going on --------------------------------------------------------------------------------------------------


async def shown(gateway: Running, name: str = "default/demo", **headers: str) -> dict[str, Any]:
    response = await gateway.http.get(f"{PATH}/{name}", headers=headers)
    assert response.status_code == 200
    return dict(response.json())


async def test_a_session_says_what_it_waits_for_and_what_whoever_asks_may_do(installation: Installation) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await installation.session()
    stranger = await shown(gateway)
    assert (stranger["state"], stranger["waitingFor"], stranger["role"]) == (
        "waiting-for-publisher", "publisher", "view",
    )  # fmt: skip
    assert (stranger["publishing"], stranger["phase"]) == (False, "Pending")
    assert stranger["situation"] == {
        "headline": "Waiting for a publisher",
        "detail": "The picture starts when somebody publishes.",
        "tone": "quiet",
        "offers": ["get-publisher-link"],
    }
    publisher = await shown(gateway, **installation.token())
    assert (publisher["role"], publisher["situation"]["offers"]) == ("publish", ["turn-camera-on", "play-file"])
    (listed,) = (await gateway.http.get(PATH, headers=installation.token())).json()
    assert listed == publisher


async def test_a_session_without_room_says_so_and_when_there_may_be_some(installation: Installation) -> None:
    gateway = await installation.gateway()
    await installation.session("first", cost=1_000)
    await installation.session("second", cost=1_000)
    nobody = await shown(gateway, "default/second")
    assert (nobody["state"], nobody["reason"], nobody["situation"]["tone"]) == ("no-worker", "no-capacity", "bad")

    await installation.worker()
    await until_shown(gateway, lambda now: now["reason"] == "", "default/second")
    await installation.claims.claim("default/first")
    await until_shown(gateway, lambda now: now["reason"] == "no-capacity", "default/second")
    full = await shown(gateway, "default/second")
    assert (full["state"], full["reason"], full["waitingFor"]) == ("capacity-full", "no-capacity", "worker")
    assert full["situation"]["headline"] == "The one worker is busy"
    assert full["situation"]["detail"].startswith(
        "It starts as soon as there is room; this page tries again by itself."
    )


async def test_publishing_is_known_at_every_gateway(installation: Installation) -> None:
    one, other = await installation.gateway("g0"), await installation.gateway("g1")
    await installation.worker()
    await installation.session()
    peer = await installation.publish(one)
    assert peer.response.status_code == 201
    await until_shown(other, lambda now: now["publishing"] and not now["publisher"])
    await one.http.delete(peer.location, headers=installation.token())
    await until_shown(other, lambda now: now["state"] == "nobody-publishes")


async def until_shown(gateway: Running, holds: Callable[[dict[str, Any]], bool], session: str = "default/demo") -> None:
    async with asyncio.timeout(15):
        while not holds(await shown(gateway, session)):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("phase", [Phase.ENDED, Phase.FAILED])
async def test_a_publisher_starts_an_ended_session_again(installation: Installation, phase: Phase) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await installation.session(prompt="ink")
    claim = await installation.claims.claim("default/demo")
    await installation.claims.release("default/demo", epoch=claim.epoch, phase=phase, reason="Deleted")
    ended = await shown(gateway, **installation.token())
    assert ended["situation"]["offers"] == ["start-again", "all-sessions"]

    path = f"{PATH}/default/demo/start"
    assert (await gateway.http.post(path)).status_code == 401
    again = await gateway.http.post(path, headers=installation.token())
    assert (again.status_code, again.json()["state"], again.json()["prompt"]) == (200, "waiting-for-publisher", "ink")
    assert (await gateway.http.post(path, headers=installation.token())).json() == again.json(), "it runs already"


async def test_on_a_cluster_a_gateway_brings_no_session_back(installation: Installation) -> None:
    gateway = await installation.gateway("g0", "--sessions", "cluster")
    await installation.session()
    await installation.claims.set_phase("default/demo", 0, Phase.ENDED, "Idle")
    ended = await shown(gateway, **installation.token())
    assert (ended["situation"]["offers"], ended["situation"]["detail"]) == (
        ["all-sessions"], "Nobody published or watched for a while.",
    )  # fmt: skip
    refused = await gateway.http.post(f"{PATH}/default/demo/start", headers=installation.token())
    assert refused.status_code == 403
    assert "kubectl replace" in refused.json()["detail"]
