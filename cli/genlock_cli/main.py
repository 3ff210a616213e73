"""The command `genlock`.

Nothing but Python's own is imported at the top: while the rest comes, which takes a second, Ctrl-C is no traceback, and
neither is a library that is missing.
"""

import os
import sys

_INTERRUPTED = 130
_FAILED = 1


def main() -> None:
    """Run the command line; ends the process with one of `exit_status.ExitStatus`."""
    arguments = sys.argv[1:]
    try:
        from genlock_cli import door
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    except ModuleNotFoundError as missing:
        sys.stderr.write(f"genlock: {missing.name} is not installed; type: pip install 'genlock[local]'\n")
        raise SystemExit(_FAILED) from None
    raise SystemExit(door.run(arguments, lambda: _command(arguments)))


def _command(arguments: list[str]) -> object:
    from genlock_cli.app import commands, words_of
    from genlock_cli.options import modern

    return commands(words_of(arguments, os.environ))(modern(arguments), standalone_mode=False)


if __name__ == "__main__":
    main()
