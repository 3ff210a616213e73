"""Options: each is declared once, beside the field that keeps its value, and read alike by every process.

A part's settings are a frozen dataclass. A field that may be set from outside is an `option`, and its declaration says
all there is to know: how its value is written, its default, what it means. A field that is made of options itself is a
`section`. From these declarations come the command line, the environment variables, `--help`, `docs/options.md` and a
part of the chart's schema.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class GatewaySettings:
        drain_timeout_s: float = option(duration(), "20s", "how long a drain waits for its clients to go")

is `--drain-timeout 20s` and `GENLOCK_GATEWAY_DRAIN_TIMEOUT=20s`: the name of a field ends in its unit, and the value
that a person writes has its unit with it. The command line wins over the environment, and that over the default. An
empty value is one that was left out.
"""

import argparse
import dataclasses
import difflib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NoReturn, TypeVar, cast, get_type_hints

from genlock_core.process.values import Kind

T = TypeVar("T")
S = TypeVar("S")

EXIT_MISTAKE: Final = 2
MAX_SHOWN_CHARS: Final = 80
_OPTION: Final = "genlock_option"
_SECTION: Final = "genlock_section"
_WITHOUT_VALUE = re.compile(r"argument --([a-z0-9-]+): expected one argument")


@dataclass(frozen=True, slots=True)
class Computed:
    """A default that the machine or the pod decides. `meaning` says in words which it is."""

    meaning: str
    compute: Callable[[Mapping[str, str]], str]
    """Makes the text of the default from the environment."""


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """What there is to know of one option."""

    kind: Kind[T]
    default: str | Computed
    help: str
    """One line, without a full stop."""
    name: str = ""
    """As on the command line, without the dashes."""
    was: str = ""
    """The name before, which is still read for one release."""
    is_secret: bool = False
    """True: no message repeats the value."""
    group: str = ""
    """The heading that it stands under."""

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def meaning_of_default(self) -> str:
        """The default, in words where it is computed; empty: there is none."""
        return self.default.meaning if isinstance(self.default, Computed) else self.default

    def default_text(self, environment: Mapping[str, str]) -> str:
        return self.default.compute(environment) if isinstance(self.default, Computed) else self.default

    def read(self, written: str, *, environment: Mapping[str, str]) -> T:
        """The value; that of the default for the empty text. Raises ValueError."""
        return self.kind.parse(written or self.default_text(environment))


class Clash(ValueError):
    """Values that are each good but do not go together. `names`: the options, as on the command line."""

    def __init__(self, names: Sequence[str], reason: str) -> None:
        super().__init__(reason)
        self.names = tuple(names)
        self.reason = reason


def option(
    kind: Kind[T],
    default: str | Computed,
    help: str,  # noqa: A002 - what it is called everywhere
    *,
    name: str = "",
    was: str = "",
    secret: bool = False,
) -> T:
    """Declare the option that this field of a settings dataclass is.

    `default` is written as a person would write it. The option's name is that of the field, without the unit at its
    end, unless `name` says otherwise.
    """
    declared = Option(kind, default, help, name=name, was=was, is_secret=secret)
    return field(default_factory=lambda: kind.parse(declared.default_text({})), metadata={_OPTION: declared})


def section(settings: type[S], group: str = "") -> S:
    """Declare that this field of a settings dataclass is a settings dataclass itself; `group`: its heading in help."""
    return field(default_factory=settings, metadata={_SECTION: group})


def options_of(settings: type[Any], group: str = "") -> tuple[Option[Any], ...]:
    """The options of a settings dataclass, those of its sections among them, in the order of its fields."""
    return tuple(declared for declared, _ in _walk(settings, group))


def _walk(settings: type[Any], group: str) -> Iterator[tuple[Option[Any], str]]:
    """Each option with its name complete, and the name of its field."""
    for one in dataclasses.fields(settings):
        if _OPTION in one.metadata:
            declared: Option[Any] = one.metadata[_OPTION]
            name = declared.name or one.name.removesuffix(declared.kind.unit).replace("_", "-")
            yield dataclasses.replace(declared, name=name, group=group), one.name
        elif _SECTION in one.metadata:
            yield from _walk(_section_type(settings, one.name), one.metadata[_SECTION] or group)


def _section_type(settings: type[Any], name: str) -> type[Any]:
    return cast(type[Any], get_type_hints(settings)[name])


@dataclass(frozen=True, slots=True)
class Program:
    """A process of Genlock, as its command line and its environment know it."""

    name: str
    """As people call it: `genlock-gateway`."""
    prefix: str
    """What its environment variables begin with: `GENLOCK_GATEWAY_`."""
    about: str

    def variable(self, name: str) -> str:
        """The environment variable of the option with that name."""
        return self.prefix + name.replace("-", "_").upper()

    def called(self, name: str) -> str:
        """How a message names an option: with its variable."""
        return f"--{name} ({self.variable(name)})"

    def refuse(self, reason: str) -> NoReturn:
        """Say in one line on stderr what is wrong, and end with status 2."""
        sys.stderr.write(f"{self.name}: {' '.join(reason.split())}\n")
        raise SystemExit(EXIT_MISTAKE)

    def warn(self, remark: str) -> None:
        """Say it in one line on stderr: logging has not begun yet."""
        sys.stderr.write(f"{self.name}: {' '.join(remark.split())}\n")


def read(
    program: Program,
    settings: type[S],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    complete: Callable[[S], S] = lambda made: made,
) -> S:
    """The settings that the command line and the environment ask for.

    `complete` may look at them as a whole: it returns them, or raises Clash. A mistake is one line on stderr, and ends
    the process with status 2. What is read for one release more, and variables that are no option, are warned of.
    """
    declared = options_of(settings)
    given = vars(_command_line(program, declared).parse_args(arguments))
    _warn_of_strangers(program, declared, environment)
    values: dict[str, Any] = {}

    for one in declared:
        written = _written(program, one, given, environment)
        try:
            values[one.name] = _value(program, one, written, environment)
        except ValueError as mistake:
            program.refuse(_refusal(program, one, written.text, mistake))

    try:
        return complete(cast(S, _made(settings, values)))
    except Clash as clash:
        named = " and ".join(program.called(name) for name in clash.names)
        program.refuse(f"{named}: {clash.reason}")


@dataclass(frozen=True, slots=True)
class _Written:
    """What somebody wrote for an option, and where."""

    texts: tuple[str, ...] = ()
    """From the command line: each time that it was given. Else at most one."""
    place: str = ""
    """The flag or the variable, for messages; empty: nobody wrote anything."""
    is_variable: bool = False
    is_old: bool = False

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def _written(program: Program, one: Option[Any], given: Mapping[str, Any], environment: Mapping[str, str]) -> _Written:
    """Where the option's value comes from: the command line before the environment, the new name before the old."""
    names = [one.name, *([one.was] if one.was else [])]
    found = [
        _Written(tuple(given[name]), f"--{name}", is_old=name != one.name) for name in names if given[name] is not None
    ]
    for name in names:
        variable = program.variable(name)
        if environment.get(variable):
            found.append(_Written((environment[variable],), variable, is_variable=True, is_old=name != one.name))

    # Whoever wrote an old name has to learn it, also where it does not count.
    for other in found[1:]:
        if other.is_old:
            program.warn(f"{other.place} is not read, because {found[0].place} is given; leave it out")
    return found[0] if found else _Written()


def _value(program: Program, one: Option[Any], written: _Written, environment: Mapping[str, str]) -> Any:
    """The value of the option. Raises ValueError."""
    last = written.texts[-1] if written.texts else ""
    modern = one.kind.with_unit(last)

    if written.is_old or modern is not None:
        new_name = program.variable(one.name) if written.is_variable else one.flag
        between = "=" if written.is_variable else " "
        value = "..." if one.is_secret else modern or last
        how = f"{new_name}{between}{value}"
        what = written.place if written.is_old else f"{written.place} without a unit"
        program.warn(f"{what} is read for one release more; write {how}")

    if one.kind.gather is not None and not written.is_variable and any(written.texts):
        return one.kind.gather(written.texts)
    return one.read(last if modern is None else modern, environment=environment)


def _refusal(program: Program, one: Option[Any], written: str, mistake: ValueError) -> str:
    """What is wrong with what was written for an option."""
    if one.is_secret or not written:
        return f"{program.called(one.name)} {mistake}"
    shown = written if len(written) <= MAX_SHOWN_CHARS else written[:MAX_SHOWN_CHARS] + "..."
    return f"{program.called(one.name)} {mistake}, and is {shown!r}"


def _made(settings: type[Any], values: Mapping[str, Any]) -> Any:
    """The settings dataclass with these values, by names of options; its sections first."""
    inside: dict[str, Any] = {}
    for one in dataclasses.fields(settings):
        if _SECTION in one.metadata:
            inside[one.name] = _made(_section_type(settings, one.name), values)
        elif _OPTION in one.metadata:
            declared: Option[Any] = one.metadata[_OPTION]
            name = declared.name or one.name.removesuffix(declared.kind.unit).replace("_", "-")
            inside[one.name] = values[name]
    return settings(**inside)


def _warn_of_strangers(program: Program, declared: Sequence[Option[Any]], environment: Mapping[str, str]) -> None:
    """A variable with the part's prefix that is no option is most often a slip of the pen."""
    known = {program.variable(name) for one in declared for name in (one.name, one.was) if name}
    for variable in sorted(environment):
        if variable.startswith(program.prefix) and variable not in known:
            near = difflib.get_close_matches(variable, sorted(known), n=1)
            hint = f"; is {near[0]} meant?" if near else ""
            program.warn(f"{variable} is no option of {program.name} and is not read{hint}")


class _CommandLine(argparse.ArgumentParser):
    """Collects what was written; what it means is the same for every source, and so not argparse's to say."""

    def __init__(self, program: Program) -> None:
        super().__init__(
            prog=program.name,
            usage="%(prog)s [--OPTION VALUE ...]; --help lists the options",
            description=program.about,
            epilog=f"Each option is also the environment variable in brackets ({program.prefix}...).",
            allow_abbrev=False,
        )
        self._program = program
        self.flags: list[str] = []

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            near = difflib.get_close_matches(unknown[0].partition("=")[0], self.flags, n=1)
            message = f"there is no option {unknown[0]}" + (f"; is {near[0]} meant?" if near else "; see --help")
        elif without_value := _WITHOUT_VALUE.fullmatch(message):
            message = f"{self._program.called(without_value[1])} must have a value"
        self._program.refuse(message)


def _command_line(program: Program, declared: Sequence[Option[Any]]) -> _CommandLine:
    parser = _CommandLine(program)
    groups: dict[str, Any] = {}
    for one in declared:
        if one.group not in groups:
            groups[one.group] = parser.add_argument_group(one.group or "options of " + program.name)
        for name in (one.name, one.was):
            if not name:
                continue
            # A switch may stand alone; every other option has a value.
            alone: dict[str, Any] = {"nargs": "?", "const": "yes"} if one.kind.is_switch else {}
            told = _told(program, one) if name == one.name else argparse.SUPPRESS
            groups[one.group].add_argument(
                f"--{name}", dest=name, action="append", metavar=one.kind.shape, help=told, **alone
            )
            parser.flags.append(f"--{name}")
    return parser


def _told(program: Program, one: Option[Any]) -> str:
    """The line of an option in `--help`."""
    default = f"; {one.meaning_of_default} unless told" if one.meaning_of_default else ""
    again = "; may be given several times" if one.kind.gather is not None else ""
    return f"{one.help}{default}{again} [{program.variable(one.name)}]".replace("%", "%%")
