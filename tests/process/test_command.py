"""`genlock up` in one terminal, and the other commands in another: they find it, ask it, and stop it."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from genlock_cli.state_dir import StateDir, UpState
from genlock_cli.up.ports import choose_ports
from tests.process.local import MANIFEST, PATIENCE_S, eventually

pytestmark = pytest.mark.process


class User:
    """One user of this machine, who knows of no state folder and no address: every command has to find them."""

    def __init__(self, home: Path) -> None:
        self._home = home
        ours = {name: value for name, value in os.environ.items() if not name.startswith("GENLOCK_")}
        self._environment = ours | {"XDG_RUNTIME_DIR": str(home / "run"), "XDG_STATE_HOME": str(home / "state")}

    async def start(self, *arguments: str, stdin: bytes | None = None) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "genlock_cli.main", *arguments),
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        return process

    async def genlock(self, *arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        process = await self.start(*arguments, stdin=stdin)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        return process.returncode or 0, out.decode(), err.decode()

    async def status(self) -> list[dict[str, object]]:
        """What `genlock status` finds; nothing where nothing runs."""
        _, out, _ = await self.genlock("status", "--json")
        return list(json.loads(out)) if out else []


async def test_the_other_commands_find_what_runs_whatever_its_folder_and_stop_it(tmp_path: Path) -> None:
    user = User(tmp_path)
    port = choose_ports("127.0.0.1", 1, media=("127.0.0.1",))
    folder = str(tmp_path / "elsewhere")
    assert (await user.genlock("status"))[0] == 3
    up = await user.start(
        "up", "-", "--state-dir", folder, "--port", str(port), "--workers", "1", stdin=MANIFEST.encode()
    )

    async def is_up() -> bool:
        assert up.returncode is None, await up.communicate()
        running = StateDir(Path(folder)).running()
        return running is not None and running.state is UpState.UP

    try:
        await eventually(is_up, what="up")
        (found,) = await user.status()
        assert (found["ready"], found["gateway"]) == (True, f"http://127.0.0.1:{port}")

        # Who holds the folder and the port is told, and costs nothing.
        assert (await user.genlock("up", "--state-dir", folder, "--port", "0"))[0] == 7
        # Its secret is found by its address.
        assert (await user.genlock("session", "set", "demo", "steps=1"))[:2] == (0, "default/demo: steps = 1\n")
        _, token, _ = await user.genlock("session", "token", "demo", "--gateway", f"http://localhost:{port}")
        # A wrong one is refused, by the list too.
        status, _, err = await user.genlock("session", "list", "--token", token.strip()[:-2] + "AA", "--json")
        assert (status, json.loads(err)["error"]) == (4, "refused")

        status, out, _ = await user.genlock("logs", "g0", "--lines", "1000")
        assert status == 0
        assert f"ready g0 http=http://127.0.0.1:{port}" in out
        status, _, err = await user.genlock("down")
        assert (status, err.splitlines()[-1]) == (0, f"genlock down: stopped ({folder})")
        printed, _ = await asyncio.wait_for(up.communicate(), PATIENCE_S)
        assert up.returncode == 0
        assert f"export GENLOCK_STATE_DIR={folder}" in printed.decode()
    finally:
        if up.returncode is None:
            up.send_signal(signal.SIGINT)
            await asyncio.wait_for(up.communicate(), PATIENCE_S)
