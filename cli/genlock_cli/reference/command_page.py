"""`docs/command.md`: every command of `genlock` with its arguments and options, and how each can end."""

from collections.abc import Iterator
from typing import Any, Final

from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_command

from genlock_cli.app import commands
from genlock_cli.exit_status import MEANINGS

_INTRODUCTION: Final = """\
# The command genlock

Made by `python -m genlock_cli.reference`; a test keeps it true. `genlock COMMAND --help` tells the same.

* `--gateway`, `--token`, `--state-dir` and `-n/--namespace` mean the same on every command that has them.
* Without `--gateway` (`GENLOCK_GATEWAY`) a command goes to the running `genlock up`: to that of the state folder that
  was named (`--state-dir`, `GENLOCK_STATE_DIR`), else to the one with the usual folder, else to the only one that this
  user runs. Where it could be one of several, it asks which.
* Without `--token` (`GENLOCK_TOKEN`) it makes one with the secrets of the gateway that it goes to: of the `genlock up`
  that serves there, else of `GENLOCK_SECRETS` or `GENLOCK_SECRETS_FILE`, else of this user's own state folder for a
  gateway of this machine. No other gateway gets a token that was made here. `--token ""` goes without.
* `genlock --install-completion` teaches the shell the commands, and the names of sessions.

## How it ends

| status | word | meaning |
|---|---|---|
{statuses}

An error is one message on stderr: `genlock: ...`. With `--json` it is an object instead, in one line and the last one:
`{{"error": WORD, "detail": TEXT, "exitStatus": NUMBER}}`, with `httpStatus`, `reason`, `retryAfterS` and `mistakes`
(`[{{path, message}}]`) where a gateway or a manifest has them.

An error that nobody expected is one line too. It names the file where its traceback is, `logs/command.log` in the state
folder; `GENLOCK_DEBUG=1` shows it at once. A number never changes its meaning.
"""


def command_document() -> str:
    """The page."""
    statuses = "\n".join(
        f"| {int(status)} | `{status.word}` | {_cell(meaning)} |" for status, meaning in MEANINGS.items()
    )
    return "\n".join([_INTRODUCTION.format(statuses=statuses), *_sections(get_command(commands()), "genlock")])


def _sections(command: Any, words: str) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        if words != "genlock":
            yield f"## {words}\n\n{_help(command)}\n"
        for name, inner in command.commands.items():
            yield from _sections(inner, f"{words} {name}")
        return
    level = "###" if words.count(" ") > 1 else "##"
    arguments = [one for one in command.params if isinstance(one, TyperArgument)]
    options = [one for one in command.params if not isinstance(one, TyperArgument)]
    usage = " ".join([words, *(_argument(one) for one in arguments)])
    lines = [f"{level} {words}", "", _help(command), "", f"`{usage}`", ""]
    lines += [f"* `{_argument(one)}`: {_words(one.help)}" for one in arguments]
    if arguments:
        lines.append("")
    if options:
        lines += ["| option | default | meaning |", "|---|---|---|", *(_row(one) for one in options), ""]
    yield "\n".join(lines)


def _argument(argument: TyperArgument) -> str:
    name = argument.metavar or argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _row(option: TyperOption) -> str:
    spellings = ", ".join(f"`{spelling}`" for spelling in (*option.opts, *option.secondary_opts))
    shown = option.show_default if isinstance(option.show_default, str) else _default(option)
    return "| " + " | ".join(map(_cell, (spellings, shown or "-", _words(option.help)))) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(option: TyperOption) -> str:
    if option.is_flag or option.default in (None, "") or option.show_default is False:
        return ""
    return str(getattr(option.default, "value", option.default))


def _help(command: Any) -> str:
    return " ".join((command.help or "").split())


def _words(text: str | None) -> str:
    return " ".join((text or "").split())
