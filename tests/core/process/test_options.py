"""Options: declared once, read alike from the command line and from the environment, and one line for each mistake."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.process import values
from genlock_core.process.address import Address
from genlock_core.process.options import Clash, Computed, Program, option, options_of, read, section

PROGRAM = Program("genlock-kiln", "GENLOCK_KILN_", "A kiln.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Glaze:
    coats: int = option(values.whole(1, 9), "2", "coats of glaze", name="max-coats")
    dry_s: float = option(values.duration(), "250ms", "how long a coat dries")


@dataclass(frozen=True, slots=True, kw_only=True)
class KilnSettings:
    name: str = option(
        values.text(r"[a-z0-9]+", must_be="small letters and digits"),
        Computed("the host's", lambda environment: environment.get("HOST", "here")),
        "the kiln's name",
    )
    listen: Address = option(values.address(), "127.0.0.1:0", "where it listens")
    fire_s: float = option(values.duration(1.0), "20s", "how long it fires", was="fire-time-s")
    peak_bytes: int | None = option(values.optional(values.size()), "", "memory that it may use")
    open: bool = option(values.switch(), "no", "leave the door open")
    shelf: tuple[Path, ...] = option(values.several(values.path()), "", "a shelf")
    store: str = option(
        values.text(r"redis://\S+", must_be="a URL of Redis"), "redis://h", "its store", was="shop", secret=True
    )
    glaze: Glaze = section(Glaze, "glazing")


def kiln(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> KilnSettings:
    return read(PROGRAM, KilnSettings, arguments, environment or {})


def mistake(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> str:
    """The one line that it says, with status 2."""
    with pytest.raises(SystemExit) as ended:
        kiln(arguments, environment)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    return line


def test_without_anything_the_defaults_hold_and_those_are_the_fields_own() -> None:
    assert kiln() == KilnSettings()
    assert (kiln().name, kiln().fire_s, kiln().peak_bytes, kiln().glaze.dry_s) == ("here", 20.0, None, 0.25)
    assert kiln(environment={"HOST": "h7"}).name == "h7"


def test_the_command_line_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {"GENLOCK_KILN_FIRE": "2m", "GENLOCK_KILN_MAX_COATS": "3"}
    made = kiln(["--fire", "3s"], environment)
    assert (made.fire_s, made.glaze.coats, made.glaze.dry_s) == (3.0, 3, 0.25)


def test_an_empty_value_is_one_that_was_left_out() -> None:
    assert kiln(["--fire", ""], {"GENLOCK_KILN_MAX_COATS": ""}) == KilnSettings()
    assert kiln(["--fire="], {"GENLOCK_KILN_FIRE": "2m"}).fire_s == 20.0


@pytest.mark.parametrize(
    ("name", "text", "must"),
    [
        ("fire", "soon", "must be a duration with its unit"),
        ("fire", "10ms", "must lie between 1s and 744h"),
        ("fire", "-5", "must be a duration"),
        ("max-coats", "-5", "must be a whole number from 1 to 9"),
        ("max-coats", "many", "must be a whole number from 1 to 9"),
        ("listen", "8080", "must be an address"),
        ("open", "maybe", "must be yes or no"),
        ("peak", "much", "must be an amount of memory"),
        ("name", "A Kiln", "must be small letters and digits"),
    ],
)
def test_a_mistake_is_one_line_with_the_option_and_its_variable_wherever_it_comes_from(
    name: str, text: str, must: str, capsys: pytest.CaptureFixture[str]
) -> None:
    variable = PROGRAM.variable(name)
    for line in (
        mistake(capsys, [f"--{name}", text]),
        mistake(capsys, [f"--{name}={text}"]),
        mistake(capsys, environment={variable: text}),
    ):
        assert line.startswith(f"genlock-kiln: --{name} ({variable}) {must}")
        assert line.endswith(f"and is {text!r}")


@settings(max_examples=40)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60))
def test_both_sources_agree_on_every_text(text: str) -> None:
    """What the one refuses the other refuses, and what the one reads the other reads as the same."""

    def outcome(arguments: Sequence[str], environment: Mapping[str, str]) -> object:
        try:
            return kiln(arguments, environment)
        except SystemExit as ended:
            return ended.code

    for one in options_of(KilnSettings):
        if one.kind.gather is None:
            given_there = outcome([], {PROGRAM.variable(one.name): text})
            assert outcome([f"--{one.name}={text}"], {}) == given_there


def test_a_secret_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(capsys, environment={"GENLOCK_KILN_STORE": "rediss://:hunter2@h"})
    assert line == "genlock-kiln: --store (GENLOCK_KILN_STORE) must be a URL of Redis"


def test_a_secret_under_its_old_name_is_not_repeated_either(capsys: pytest.CaptureFixture[str]) -> None:
    assert kiln(["--shop", "redis://:hunter2@h"]).store == "redis://:hunter2@h"
    assert capsys.readouterr().err == "genlock-kiln: --shop is read for one release more; write --store ...\n"


def test_a_long_or_broken_value_stays_one_short_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(mistake(capsys, environment={"GENLOCK_KILN_NAME": "x\n" * 5_000})) < 300


def test_a_switch_stands_alone_or_has_a_value() -> None:
    assert kiln(["--open"]).open
    assert kiln(["--open=true"]).open
    assert not kiln(["--open", "off"], {"GENLOCK_KILN_OPEN": "yes"}).open


def test_what_may_be_given_several_times_comes_from_either() -> None:
    assert kiln(["--shelf", "a b", "--shelf", "c"], {"GENLOCK_KILN_SHELF": "d"}).shelf == (Path("a b"), Path("c"))
    assert kiln(environment={"GENLOCK_KILN_SHELF": "d e"}).shelf == (Path("d"), Path("e"))


@pytest.mark.parametrize(
    ("arguments", "environment", "fire_s", "warning"),
    [
        (["--fire-time-s", "5"], {}, 5.0, "--fire-time-s is read for one release more; write --fire 5s"),
        (["--fire-time-s", "5s"], {}, 5.0, "--fire-time-s is read for one release more; write --fire 5s"),
        (["--fire", "90.5"], {}, 90.5, "--fire without a unit is read for one release more; write --fire 1m30s500ms"),
        (
            [],
            {"GENLOCK_KILN_FIRE_TIME_S": "5"},
            5.0,
            "GENLOCK_KILN_FIRE_TIME_S is read for one release more; write GENLOCK_KILN_FIRE=5s",
        ),
        (
            [],
            {"GENLOCK_KILN_FIRE": "5"},
            5.0,
            "GENLOCK_KILN_FIRE without a unit is read for one release more; write GENLOCK_KILN_FIRE=5s",
        ),
    ],
)
def test_old_names_and_plain_numbers_are_read_with_a_warning(
    arguments: list[str],
    environment: dict[str, str],
    fire_s: float,
    warning: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert kiln(arguments, environment).fire_s == fire_s
    assert capsys.readouterr().err == f"genlock-kiln: {warning}\n"


def test_a_plain_number_keeps_the_bounds_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        kiln(["--fire", "0.5"])
    assert "must lie between 1s" in capsys.readouterr().err


def test_the_new_name_wins_over_the_old_one_and_the_command_line_over_both() -> None:
    old, new = {"GENLOCK_KILN_FIRE_TIME_S": "5s"}, {"GENLOCK_KILN_FIRE": "6s"}
    assert kiln([], old | new).fire_s == 6.0
    assert kiln(["--fire-time-s", "7s"], old | new).fire_s == 7.0
    assert kiln(["--fire-time-s", "7s", "--fire", "8s"], old | new).fire_s == 8.0


def test_an_old_name_that_does_not_count_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    kiln([], {"GENLOCK_KILN_FIRE_TIME_S": "5s", "GENLOCK_KILN_FIRE": "6s"})
    assert capsys.readouterr().err == (
        "genlock-kiln: GENLOCK_KILN_FIRE_TIME_S is not read, because GENLOCK_KILN_FIRE is given; leave it out\n"
    )


def test_a_variable_that_is_no_option_is_warned_of_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    kiln(environment={"GENLOCK_KILN_MAX_COAT": "3", "GENLOCK_OTHER": "x", "PATH": "/"})
    told = capsys.readouterr().err
    assert told == (
        "genlock-kiln: GENLOCK_KILN_MAX_COAT is no option of genlock-kiln and is not read; "
        "is GENLOCK_KILN_MAX_COATS meant?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--max-coat", "3"], "genlock-kiln: there is no option --max-coat; is --max-coats meant?"),
        (["--fi", "3s"], "genlock-kiln: there is no option --fi; is --fire meant?"),
        (["kiln.yaml"], "genlock-kiln: there is no option kiln.yaml; see --help"),
        (["--fire"], "genlock-kiln: --fire (GENLOCK_KILN_FIRE) must have a value"),
    ],
)
def test_a_mistake_in_a_name_is_one_line_too(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mistake(capsys, arguments) == line


def test_values_that_do_not_go_together_are_told_with_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    def no_open_fire(made: KilnSettings) -> KilnSettings:
        if made.open:
            raise Clash(["open", "fire"], "an open kiln does not fire")
        return dataclasses.replace(made, fire_s=1.0)

    assert read(PROGRAM, KilnSettings, [], {}, complete=no_open_fire).fire_s == 1.0
    with pytest.raises(SystemExit) as ended:
        read(PROGRAM, KilnSettings, ["--open"], {}, complete=no_open_fire)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "genlock-kiln: --open (GENLOCK_KILN_OPEN) and --fire (GENLOCK_KILN_FIRE): an open kiln does not fire\n"
    )


def test_help_tells_every_option_with_default_and_variable_but_not_the_old_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        kiln(["--help"])
    assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for one in options_of(KilnSettings):
        assert one.flag in told
        assert f"[{PROGRAM.variable(one.name)}]" in told
        assert one.help in told
    assert "20s unless told" in told
    assert "the host's unless told" in told
    assert "glazing" in told
    assert "fire-time-s" not in told
