"""The command `genlock`."""

import os
import sys

from genlock_cli import door
from genlock_cli.options import modern


def main() -> None:
    """Run the command line; ends the process with one of `exit_status.ExitStatus`."""
    arguments = sys.argv[1:]
    raise SystemExit(door.run(arguments, lambda: _command(arguments)))


def _command(arguments: list[str]) -> object:
    # Inside the door: an import takes a second, in which Ctrl-C may come, and a missing library is an error as well.
    from genlock_cli.app import commands, words_of

    return commands(words_of(arguments, os.environ))(modern(arguments), standalone_mode=False)


if __name__ == "__main__":
    main()
