import asyncio
import signal
import sys
from pathlib import Path

import pytest

from genlock_cli.up.children import LONGEST_DELAY_S, Child, ChildFailed, ChildState, restart_delay_s
from genlock_cli.up.plan import ChildPlan
from genlock_core.clock import SystemClock

SERVES = "import time; print('ready name=x', flush=True); time.sleep(60)"


def child(script: str, tmp_path: Path, states: list[ChildState]) -> Child:
    plan = ChildPlan("c0", "worker", (sys.executable, "-c", script))
    return Child(
        plan,
        environment={},
        log=tmp_path / "c0.log",
        clock=SystemClock(),
        on_change=lambda changed: states.append(changed.state),
    )


def test_delays_grow_while_it_dies_early_and_are_bounded() -> None:
    delays = [restart_delay_s(deaths, 0.1, first_s=0.1) for deaths in range(1, 12)]
    assert delays == sorted(delays)
    assert delays[0] < delays[3] < delays[-1] == LONGEST_DELAY_S
    assert restart_delay_s(9, 60.0, first_s=0.1) == delays[0]
    assert restart_delay_s(1, 60.0, first_s=2.0) == restart_delay_s(1, 0.1, first_s=2.0) == 2.0


async def test_a_child_that_is_killed_comes_back(tmp_path: Path) -> None:
    states: list[ChildState] = []
    one = child(SERVES, tmp_path, states)
    one.start()
    await one.ready()
    first = one.pid
    one.send_signal(signal.SIGKILL)
    async with asyncio.timeout(20):
        while one.pid in {None, first} or one.state is not ChildState.READY:
            await asyncio.sleep(0.01)
    assert one.restarts == 1
    await one.stop()
    assert states[:4] == [ChildState.STARTING, ChildState.READY, ChildState.WAITING, ChildState.STARTING]
    assert states[-1] is ChildState.STOPPED


async def test_a_child_that_never_serves_is_reported_with_its_last_words(tmp_path: Path) -> None:
    one = child("import sys; sys.exit('no such engine: warp')", tmp_path, [])
    one.start()
    with pytest.raises(ChildFailed, match="no such engine: warp"):
        await one.ready()
    await one.stop()


async def test_a_child_that_ignores_the_request_is_ended_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlock_cli.up.children.STOP_TIMEOUT_S", 0.2)
    one = child("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SERVES, tmp_path, [])
    one.start()
    await one.ready()
    await one.stop()
    assert one.pid is None


async def test_of_a_long_goodbye_only_what_the_program_says_itself_is_shown(tmp_path: Path) -> None:
    words = "usage: genlock-worker [--device DEVICE]\\ngenlock-worker: error: argument --device: must be cpu"
    one = child(f"import sys; sys.exit('{words}')", tmp_path, [])
    one.start()
    with pytest.raises(ChildFailed, match=r"c0\.log\ngenlock-worker: error: argument --device: must be cpu$"):
        await one.ready()
    await one.stop()
