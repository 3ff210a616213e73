"""A command line imports what it needs, and every command is there with the options that mean one thing everywhere."""

import subprocess
import sys

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from genlock_cli.app import COMMANDS, commands, version, words_of

TAKES_A_SESSION = {
    "publish",
    "record",
    "open",
    *(f"session {name}" for name in ("show", "set", "reset", "move", "end", "token")),
}
TALKS_TO_A_GATEWAY = TAKES_A_SESSION | {"status", "session list", "session create"}


def options_by_command() -> dict[str, dict[str, tuple[str, ...]]]:
    """Each command by its words, and its options by their Python names."""
    root = get_command(commands())
    assert isinstance(root, TyperGroup)
    found = {}
    for name, command in root.commands.items():
        inner = command.commands if isinstance(command, TyperGroup) else {"": command}
        for below, one in inner.items():
            found[f"{name} {below}".strip()] = {str(param.name): tuple(param.opts) for param in one.params}
    return found


def test_what_takes_a_session_takes_its_namespace_and_the_same_ways_to_find_it() -> None:
    options = options_by_command()
    assert {name for name, known in options.items() if "session" in known} == TAKES_A_SESSION
    for name in TAKES_A_SESSION:
        assert set(options[name]["namespace"]) == {"--namespace", "-n"}
    for name in TALKS_TO_A_GATEWAY:
        assert options[name]["gateway"] == ("--gateway",)
        assert options[name]["state_dir"] == ("--state-dir",)
        assert options[name]["as_json"] == ("--json",)


def test_a_short_option_means_one_thing_everywhere() -> None:
    meanings: dict[str, set[str]] = {}
    for known in options_by_command().values():
        for name, spellings in known.items():
            for short in spellings:
                if len(short) == 2:
                    meanings.setdefault(short, set()).add(name)
    assert {short: names for short, names in meanings.items() if len(names) > 1} == {}


@pytest.mark.parametrize("words", [["session", "list"], ["-v", "session"], ["--verbose", "session", "show"]])
def test_a_command_that_is_named_comes_alone(words: list[str]) -> None:
    root = get_command(commands(words))
    assert isinstance(root, TyperGroup)
    assert list(root.commands) == ["session"]


@pytest.mark.parametrize("words", [None, [], ["--help"], ["sesion"], ["ses"], ["--install-completion"]])
def test_where_no_command_is_named_all_are_there(words: list[str] | None) -> None:
    root = get_command(commands(words))
    assert isinstance(root, TyperGroup)
    assert list(root.commands) == list(COMMANDS)


def test_a_shell_that_completes_names_the_command_as_well() -> None:
    assert words_of(["x"], {}) == ["x"]
    assert words_of([], {"_GENLOCK_COMPLETE": "complete_bash", "COMP_WORDS": "genlock session sh"}) == ["session", "sh"]
    assert words_of([], {"_GENLOCK_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "genlock up "}) == ["up"]


def test_the_version_is_the_installed_one() -> None:
    assert version()[0].isdigit()


def test_completing_a_sessions_name_imports_neither_media_nor_engines() -> None:
    check = (
        "import sys; from genlock_cli.app import commands; commands(['session', 'show']);"
        "print([name for name in ('av', 'aiortc', 'redis', 'cv2', 'httpx', 'genlock_worker') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() in ("[]", "['httpx']")


def test_each_command_is_a_typer_or_a_function_of_its_name() -> None:
    assert isinstance(commands(), typer.Typer)
