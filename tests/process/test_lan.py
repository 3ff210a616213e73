"""`genlock up --lan`: a browser on the network publishes its camera over https, with the link and with nothing less."""

import asyncio
import json
import os
import ssl
import stat
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from genlock_cli.state_dir import StateDir
from genlock_gateway.rtc.transport.own_addresses import LOOPBACK, own_addresses
from tests.process.local import MANIFEST, PATIENCE_S
from tests.process.pages import browser, playing

pytestmark = pytest.mark.process


@asynccontextmanager
async def up(tmp_path: Path) -> AsyncIterator[tuple[Process, dict[str, str]]]:
    """The command on free ports, and what it says of the network. Its manifest opens the session to everybody."""
    manifest = tmp_path / "session.yaml"
    manifest.write_text(MANIFEST)
    command = (sys.executable, "-m", "genlock_cli.main", "up", str(manifest), "--lan", "--lan-port", "0", "--port", "0")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GENLOCK_")}
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--workers", "1", "--state-dir", str(tmp_path / "state"), "--json"),
        stdout=PIPE,
        stderr=DEVNULL,
        env=environment,
    )
    try:
        assert process.stdout is not None
        said = json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE_S))
        yield process, {"plain": said["up"][0], **said["lan"]}
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), PATIENCE_S)


def private_lines(path: str) -> list[str]:
    """What a file says that only its user may read."""
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    return Path(path).read_text().splitlines()


@pytest.mark.browser
async def test_a_phone_on_the_network_publishes_by_its_link_and_a_stranger_does_not(
    tmp_path: Path, browser_executable: Path
) -> None:
    if own_addresses() == (LOOPBACK,):
        pytest.skip("this machine has no address on a network")

    async with up(tmp_path) as (process, lan):
        (link,) = private_lines(lan["links"])
        assert link.startswith(f"{lan['url']}/studio/default/demo#token=")
        assert not lan["url"].startswith(f"https://{LOOPBACK}")

        trusting = ssl.create_default_context(cafile=str(tmp_path / "state" / "lan" / "certificate.pem"))
        async with httpx.AsyncClient(verify=trusting, trust_env=False) as http:
            for base in (lan["url"], lan["plain"]):
                assert (await http.get(f"{base}/api/v1/sessions/default/demo")).status_code == 401
                assert (await http.get(f"{base}/api/v1/sessions")).json() == []

        camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
        async with browser(browser_executable, "--ignore-certificate-errors", *camera) as context:
            page = await context.new_page()
            await page.goto(link)
            assert await page.evaluate("isSecureContext"), "else there is no camera"
            await page.get_by_role("button", name="Turn the camera on").click()
            await playing(page)

            # The same stream, by the page of this machine: plain http on loopback goes on.
            viewer = await context.new_page()
            token = link.partition("#")[2]
            await viewer.goto(f"{lan['plain']}/watch/default/demo#{token}")
            await playing(viewer)

        logged = "".join(path.read_text() for path in StateDir(tmp_path / "state").logs.iterdir())
        assert "gl2." not in logged
        assert process.returncode is None
    assert not (tmp_path / "state" / "lan-links").exists(), "it is over with the links"
