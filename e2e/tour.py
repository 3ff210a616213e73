"""Makes the output and the screenshot of docs/kubernetes.md anew, from a session on the installation of `make e2e`.

    python -m e2e.tour

Every block of the page after a line `<!-- tour: COMMAND -->` becomes what that command prints now.
"""

import asyncio
import base64
import os
import re
import shlex
import sys

from e2e.install import NAMESPACE, STUDIO
from e2e.kubectl import CommandFailed, apply, cluster, eventually, kubectl, status
from e2e.run import ARTIFACTS
from e2e.show import on_air, session
from e2e.surroundings import ROOT, Surroundings
from genlock_core.tokens import Keyring
from tests.browsers import find_browser
from tests.process.pages import browser, playing

PAGE = ROOT / "docs" / "kubernetes.md"
PICTURE = ROOT / "docs" / "images" / "kubernetes-watch.png"
BLOCK = re.compile(r"(<!-- tour: (?P<command>.+?) -->\n+```text\n).*?(```)", re.DOTALL)
DEMO = session(
    "demo",
    qualityMode="balanced",
    frameRate=16,
    prompt="neon lights in the rain",
    seed=7,
    access={"publish": "Token", "view": "Public"},
)


async def tour() -> None:
    """Put a stream on the air, look at it, and write down what is seen."""
    async with cluster() as found:
        secret = await found.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/genlock-secrets")
        assert secret is not None, "no installation: run `make e2e`, or python -m e2e.run e2e/test_1_going_live.py"
        keyring = Keyring.parse(base64.b64decode(secret["data"]["secrets"]).decode())
        await apply(session("greedy", qualityMode="quality", frameRate=60))
        async with on_air(found, keyring, ARTIFACTS, DEMO) as live:
            await live.live()
            told = await eventually(
                live.resource, lambda seen: "figures" in status(seen), what="figures", within_s=90.0
            )
            await _screenshot(status(told)["endpoints"]["watch"])
            await _write()
        await kubectl("delete", "ssn", "demo", "greedy", "--namespace", STUDIO)


async def _screenshot(url: str) -> None:
    executable = find_browser()
    assert executable is not None, "no Chromium"
    async with browser(executable) as context:
        page = await context.new_page()
        await page.set_viewport_size({"width": 960, "height": 600})
        await page.goto(url)
        await playing(page)
        await page.screenshot(path=PICTURE)


async def _write() -> None:
    text = PAGE.read_text()
    for found in list(BLOCK.finditer(text)):
        try:
            output = await kubectl(*shlex.split(found["command"])[1:])
        except CommandFailed as error:
            output = str(error)
        text = text.replace(found[0], f"{found[1]}{output}\n{found[3]}")
    PAGE.write_text(text)


if __name__ == "__main__":
    Surroundings.find(os.environ).enter()
    ARTIFACTS.mkdir(exist_ok=True)
    sys.exit(asyncio.run(tour()))
