"""The first signal asks, the second insists, one more ends the process."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from genlock_core.process.signals import StopSignals

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize(
    ("drains", "came", "stopping", "hurrying"),
    [
        (True, [TERM], True, False),
        (True, [TERM, TERM], True, True),
        (True, [TERM, INT], True, True),
        (True, [INT], True, True),
        (False, [TERM], True, True),
        (False, [INT], True, True),
    ],
)
async def test_what_signals_ask_for(
    drains: bool, came: list[signal.Signals], stopping: bool, hurrying: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    signals = StopSignals(drains=drains)
    for number in came:
        signals.came(number)
    assert (signals.stopping.is_set(), signals.hurrying.is_set()) == (stopping, hurrying)
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == [number.name for number in came]


async def test_signals_are_taken_back_from_whoever_took_them_meanwhile() -> None:
    loop = asyncio.get_running_loop()
    signals = StopSignals.heed(drains=True)
    try:
        loop.add_signal_handler(TERM, lambda: None)
        signals.take()
        os.kill(os.getpid(), TERM)
        async with asyncio.timeout(5):
            await signals.stopping.wait()
    finally:
        loop.remove_signal_handler(TERM)
        loop.remove_signal_handler(INT)


@pytest.mark.parametrize(("first", "second"), [(INT, TERM), (INT, INT)])
def test_a_process_that_hangs_at_its_end_is_ended_by_the_next_signal(
    first: signal.Signals, second: signal.Signals
) -> None:
    program = """
        import asyncio
        from genlock_core.process.signals import StopSignals

        async def main():
            signals = StopSignals.heed(drains=True)
            print("ready", flush=True)
            await signals.hurrying.wait()
            print("hangs", flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(first)
        assert process.stdout.readline() == "hangs\n"
        process.send_signal(second)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == -second
        assert f"{second.name} came again" in errors
