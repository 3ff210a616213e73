"""Names of sessions for the shell: the gateway is asked, a second at most, and what goes wrong is silence."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import typer

BOUND_S: Final = 1.0
"""Somebody holds the key down: no answer is better than a late one."""
_PROGRAM_VARIABLE: Final = "_GENLOCK_COMPLETE"
DEFAULT_NAMESPACE: Final = "default"


def session_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """What typer offers for the argument SESSION; the options before it say which gateway is asked."""
    given = ctx.params
    sessions = within(BOUND_S, lambda: _sessions_of(given))
    return names_of(sessions or (), incomplete, namespace=given.get("namespace"))


def process_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """What typer offers for the argument PROCESS: those that have logs, of what runs or of the last run."""
    from genlock_cli.target import state_meant

    with contextlib.suppress(Exception):
        state = state_meant(ctx.params.get("state_dir"), os.environ)
        return [name for name, _ in state.log_files() if name.startswith(incomplete)]
    return []


def names_of(sessions: Iterable[Mapping[str, Any]], incomplete: str, *, namespace: str | None) -> list[str]:
    """The names that begin so. A name stands alone in its own namespace, and behind its namespace in another one."""
    own = namespace or DEFAULT_NAMESPACE
    names = []
    for session in sessions:
        whole = f"{session['namespace']}/{session['name']}"
        alone = session["namespace"] == own and "/" not in incomplete
        names.append(str(session["name"]) if alone else whole)
    return sorted(name for name in names if name.startswith(incomplete))


def within(seconds: float, ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What `ask` answers in time; nothing if it takes longer or fails."""
    answers: list[list[dict[str, Any]]] = []

    def answer() -> None:
        with contextlib.suppress(Exception):
            answers.append(ask())

    # A daemon: the process does not wait for a gateway that takes its time.
    thread = threading.Thread(target=answer, name="completion", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else []


def words_so_far(environment: Mapping[str, str]) -> list[str] | None:
    """The words of the command line that a shell wants completed, without the program; None: this is a usual call."""
    if _PROGRAM_VARIABLE not in environment:
        return None
    return (environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS") or "").split()[1:]


def _sessions_of(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    # Only here: most words that are completed need no gateway, and HTTP takes a tenth of a second to import.
    from genlock_cli.api import GatewayApi
    from genlock_cli.target import Target

    state_dir: Path | None = given.get("state_dir")
    # Whatever is said about the environment (an old secret, say) would land in the middle of the user's line.
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):  # noqa: PTH123
        target = Target.find(gateway=given.get("gateway"), token=given.get("token"), state_dir=state_dir)
        with GatewayApi(target.gateway, target.admin_token(), timeout_s=BOUND_S) as api:
            return api.sessions()
