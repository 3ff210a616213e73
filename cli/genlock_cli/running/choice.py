"""Which `genlock up` a command means that asks no gateway: the named one, or one that is found."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from genlock_cli.exit_status import NotThere, Unreachable
from genlock_cli.state_dir import STATE_DIR_VARIABLE, StateDir
from genlock_cli.target import meant_up
from genlock_cli.ups import Up, Ups


def up_that_runs(state_dir: Path | None, environment: Mapping[str, str]) -> Up:
    """The one that is meant. Raises NotThere if it does not run, BadInput where it could be one of several."""
    try:
        found = meant_up(state_dir, environment, Ups.of_this_user(environment).running())
    except Unreachable as error:
        raise NotThere(str(error)) from None
    if found is None:
        raise NotThere(nothing_runs(environment))
    return found


def ups_that_run(state_dir: Path | None, environment: Mapping[str, str]) -> Sequence[Up]:
    """The one with that state directory, else all of this user."""
    state = StateDir.find(state_dir, environment)
    running = state.running()
    named = [Up(state, running)] if running is not None else []
    if state_dir is not None or environment.get(STATE_DIR_VARIABLE):
        return named
    others = [up for up in Ups.of_this_user(environment).running() if up.state.path != state.path.absolute()]
    return [*named, *others]


def nothing_runs(environment: Mapping[str, str]) -> str:
    """What to say where nothing was found."""
    if named := environment.get(STATE_DIR_VARIABLE):
        return f"no `genlock up` runs with {named} ({STATE_DIR_VARIABLE}); start one, or name another with --state-dir"
    return "no `genlock up` of this user runs here; start one with `genlock up`"
