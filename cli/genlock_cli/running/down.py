"""`genlock down`: stop a running `genlock up` from another terminal, as its Ctrl-C does, and wait until it has gone."""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from genlock_cli.exit_status import CommandError
from genlock_cli.options import duration_option
from genlock_cli.output import print_json
from genlock_cli.running.choice import nothing_runs, ups_that_run
from genlock_cli.target_options import AsJson, StateDirectory
from genlock_cli.ups import Up
from genlock_core.clock import Clock, SystemClock
from genlock_core.errors import BadInput

LOOK_EVERY_S = 0.1


class StillRunning(CommandError):
    """A `genlock up` that was asked to stop and has not."""


def down(
    every: Annotated[bool, typer.Option("--all", help="Stop each that runs.")] = False,
    wait: Annotated[float, duration_option("How long to wait for the end.", at_least_s=1.0, default="60s")] = 60.0,
    state_dir: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Stop a running `genlock up`: gateways first, then workers, then Redis. Nothing runs: nothing to do."""
    ups = ups_that_run(state_dir, os.environ)
    if len(ups) > 1 and not every:
        choices = ", ".join(f"--state-dir {up.state.path}" for up in ups)
        raise BadInput(f"{len(ups)} `genlock up` run here; say --all, or which one: {choices}")
    console = Console(stderr=True, quiet=as_json)
    for up in ups:
        stop(up, wait_s=wait, clock=SystemClock(), sleep=time.sleep, say=_speaker(console))
    if as_json:
        print_json({"stopped": [str(up.state.path.absolute()) for up in ups]})
    elif not ups:
        where = f"no `genlock up` runs with {state_dir}" if state_dir is not None else nothing_runs(os.environ)
        sys.stdout.write(f"nothing to stop: {where.partition(';')[0]}\n")


def stop(
    up: Up,
    *,
    wait_s: float,
    clock: Clock,
    sleep: Callable[[float], None],
    say: Callable[[str], None],
    kill: Callable[[int, int], None] = os.kill,
) -> None:
    """Ask it to stop, and say what it still waits for until it has. Raises StillRunning when `wait_s` is over."""
    pid = up.running.pid
    try:
        kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise CommandError(f"pid {pid} is a process of another user; let them stop it") from None
    said = ""
    deadline = clock.monotonic() + wait_s
    while up.state.is_held():
        words = _still_there(up)
        if words != said:
            said = words
            say(words)
        if clock.monotonic() > deadline:
            raise StillRunning(
                f"pid {pid} has not ended within {wait_s:g} s; `kill -9 {pid}` ends it with all its processes at once"
            )
        sleep(LOOK_EVERY_S)
    say(f"stopped ({up.state.path})")


def _still_there(up: Up) -> str:
    running = up.state.running()
    names = [process.name for process in running.processes if process.pid is not None] if running is not None else []
    return f"stopping: {', '.join(names)} left" if names else "stopping"


def _speaker(console: Console) -> Callable[[str], None]:
    def say(words: str) -> None:
        console.print(f"genlock down: {words}", highlight=False, markup=False, emoji=False, soft_wrap=True)

    return say
