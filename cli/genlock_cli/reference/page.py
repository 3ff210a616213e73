"""`docs/options.md`: every option of every process, from its declaration."""

from typing import Any, Final

from genlock_core.process.options import Option, Program, options_of
from genlock_gateway import settings as gateway
from genlock_operator import settings as operator
from genlock_operator import uninstall
from genlock_worker import settings as worker

PARTS: Final[tuple[tuple[Program, type[Any]], ...]] = (
    (gateway.PROGRAM, gateway.GatewaySettings),
    (worker.PROGRAM, worker.WorkerSettings),
    (operator.PROGRAM, operator.OperatorSettings),
    (uninstall.PROGRAM, uninstall.UninstallSettings),
)

_INTRODUCTION: Final = """\
# Options

Made by `python -m genlock_cli.reference`; a test keeps it true. `genlock COMMAND --help` tells the options of the
command itself, which writes values in the same way.

* An option on the command line wins over its environment variable, and that over the default. An empty value is one
  that was left out.
* A duration has its unit: `250ms`, `20s`, `2m`, `1m30s`. So has an amount of memory (`20Gi`, `500M`, `4096B`) and a
  rate (`50/s`, `6/m`).
* A switch is `yes` or `no`; `true` and `false`, `1` and `0`, `on` and `off` mean the same. Alone on the command line it
  is `yes`.
* An address is `host:port`, `[IPv6]:port`, or `:port` for every interface.
* What may be given several times stands in one variable with blanks between, namespaces with commas.
* A bad value is one line on stderr that names the option and the variable, and exit status 2. A variable that begins
  like those of a part and is none of them is warned of.

Secrets have no option: `GENLOCK_SECRETS` holds them, or `GENLOCK_SECRETS_FILE` names their file.
"""


def document() -> str:
    """The page."""
    sections = [_INTRODUCTION, *(_part(program, settings) for program, settings in PARTS), _old_names()]
    return "\n".join(sections)


def _part(program: Program, settings: type[Any]) -> str:
    lines = [f"## {program.name}", "", program.about]
    group: str | None = None
    for one in options_of(settings):
        if one.group != group:
            group = one.group
            lines += ["", f"### {_capital(group)}"] if group else []
            lines += ["", "| option | variable | value | default | meaning |", "|---|---|---|---|---|"]
        lines.append(_row(program, one))
    return "\n".join([*lines, ""])


def _row(program: Program, one: Option[Any]) -> str:
    shape = f"{one.kind.shape}, repeatable" if one.kind.gather is not None else one.kind.shape
    default = one.meaning_of_default
    if default and isinstance(one.default, str):
        default = f"`{default}`"
    cells = [f"`{one.flag}`", f"`{program.variable(one.name)}`", f"`{shape}`", default or "-", one.help]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _old_names() -> str:
    """What is read for one release more."""
    lines = [
        "## Old names",
        "",
        "These are read for one release more, with a warning, and so is a plain number where a value has a unit now.",
        "",
        "| before | now |",
        "|---|---|",
    ]
    for program, settings in PARTS:
        for one in options_of(settings):
            if one.was:
                old, new = f"`{program.name} --{one.was}`", f"`{one.flag}`"
                lines.append(f"| {old}, `{program.variable(one.was)}` | {new}, `{program.variable(one.name)}` |")
    return "\n".join([*lines, ""])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
