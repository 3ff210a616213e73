"""What is written from the declarations of options is what stands in the repository."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from genlock_cli.app import COMMANDS
from genlock_cli.exit_status import ExitStatus
from genlock_cli.reference.bounds_page import bounds_document
from genlock_cli.reference.command_page import command_document
from genlock_cli.reference.page import PARTS, document
from genlock_cli.reference.values_schema import MIRRORS, with_options
from genlock_core.process.options import options_of

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "charts/genlock/values.schema.json"


def at(path: str, value: object) -> dict[str, Any]:
    """Values of the chart with this one alone: `a.b`, 1 -> {"a": {"b": 1}}."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def test_the_committed_page_is_the_one_that_the_declarations_make() -> None:
    assert (ROOT / "docs/options.md").read_text() == document(), "run python -m genlock_cli.reference"


def test_the_committed_page_of_the_command_is_the_one_that_it_makes() -> None:
    assert (ROOT / "docs/command.md").read_text() == command_document(), "run python -m genlock_cli.reference"


def test_the_committed_page_of_bounds_is_the_one_that_the_limits_make() -> None:
    assert (ROOT / "docs/bounds.md").read_text() == bounds_document(), "run python -m genlock_cli.reference"


def test_the_page_of_the_command_has_every_command_and_every_status() -> None:
    page = command_document()
    assert all(f"## genlock {name}" in page for name in COMMANDS)
    assert all(f"| {int(status)} | `{status.word}` |" in page for status in ExitStatus)


def test_the_committed_schema_says_of_options_what_the_declarations_say() -> None:
    assert SCHEMA.read_text() == with_options(SCHEMA.read_text()), "run python -m genlock_cli.reference"


@pytest.mark.parametrize("path", [path for path, _, _ in MIRRORS])
def test_a_schema_that_drifted_is_mended(path: str) -> None:
    schema = json.loads(SCHEMA.read_text())
    *folders, last = path.split(".")
    node = schema["properties"]
    for folder in folders:
        node = node[folder]["properties"]
    node[last] = {"type": "null"}
    assert with_options(json.dumps(schema)) == SCHEMA.read_text()


def test_every_option_is_on_the_page_once() -> None:
    rows = re.findall(r"^\| `--([a-z0-9-]+)` \| `(\w+)` \|", document(), re.MULTILINE)
    assert rows == [
        (one.name, program.variable(one.name)) for program, settings in PARTS for one in options_of(settings)
    ]


def test_every_option_says_in_one_line_what_it_is() -> None:
    for _, settings in PARTS:
        names = [name for one in options_of(settings) for name in (one.name, one.was) if name]
        assert len(names) == len(set(names))
        for one in options_of(settings):
            assert one.help
            assert "\n" not in one.help
            assert not one.help.endswith(".")
            one.read("", environment={})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("gateway.logLevel", "info"),
        ("gateway.logLevel", "INFO"),
        ("gateway.drainTimeoutSeconds", 0),
        ("gateway.drainTimeoutSeconds", 3_600),
        ("uninstall.timeoutSeconds", 120),
        ("gateway.publicUrl", ""),
        ("redis.url", ""),
        ("redis.url", "redis+cluster://a:6379,b:6379"),
        ("operator.watch.namespaces", ["live", "studio"]),
        ("gateway.iceServers", ["stun:stun.example.org:3478"]),
    ],
)
def test_values_that_charts_were_given_before_are_taken(path: str, value: object) -> None:
    jsonschema.validate(at(path, value), json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("gateway.logLevel", "verbose"),
        ("gateway.drainTimeoutSeconds", -1),
        ("uninstall.timeoutSeconds", 0),
        ("gateway.publicUrl", "live.example.org"),
        ("redis.url", "redis://:word@redis:6379"),
        ("operator.watch.namespaces", ["Live"]),
        ("gateway.iceServers", ["http://x"]),
        ("image.pullPolicy", "always"),
    ],
)
def test_what_an_option_refuses_the_chart_refuses(path: str, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(at(path, value), json.loads(SCHEMA.read_text()))


def test_the_charts_own_values_are_taken() -> None:
    jsonschema.validate(
        yaml.safe_load((ROOT / "charts/genlock/values.yaml").read_text()), json.loads(SCHEMA.read_text())
    )
