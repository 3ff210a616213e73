"""Writes the pages of options, commands and bounds, and the chart's `values.schema.json`, anew where it is started."""

from pathlib import Path

from genlock_cli.reference.bounds_page import bounds_document
from genlock_cli.reference.command_page import command_document
from genlock_cli.reference.page import document
from genlock_cli.reference.values_schema import with_options

PAGE = Path("docs/options.md")
COMMAND_PAGE = Path("docs/command.md")
BOUNDS_PAGE = Path("docs/bounds.md")
SCHEMA = Path("charts/genlock/values.schema.json")


def main() -> None:
    """Raises OSError where the folder is no checkout of Genlock."""
    schema = with_options(SCHEMA.read_text(encoding="utf-8"))
    SCHEMA.write_text(schema, encoding="utf-8")
    PAGE.write_text(document(), encoding="utf-8")
    COMMAND_PAGE.write_text(command_document(), encoding="utf-8")
    BOUNDS_PAGE.write_text(bounds_document(), encoding="utf-8")


if __name__ == "__main__":
    main()
