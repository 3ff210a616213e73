"""The command `genlock`."""

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from genlock_cli import models, session
from genlock_cli.options import in_one_line, modern
from genlock_cli.profile import profile
from genlock_cli.publish import publish
from genlock_cli.record import record
from genlock_cli.up.command import up
from genlock_core.errors import GenlockError
from genlock_core.process import logs
from genlock_core.process.logs import LogSettings

app = typer.Typer(
    help="Genlock: live generative video that people can depend on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up)
app.command()(publish)
app.command()(record)
app.command()(profile)
app.add_typer(session.app, name="session")
app.add_typer(models.app, name="models")


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what happens.")] = False,
) -> None:
    logs.configure(LogSettings(level="info" if verbose else "warning"), fields={})


def main() -> None:
    """Run the command; a mistake is one line with status 2, an error that Genlock knows is said in words."""
    try:
        status = app(modern(sys.argv[1:]), standalone_mode=False)
    except TyperException as mistake:
        words = in_one_line(str(getattr(mistake, "format_message", mistake.__str__)()))
        # A bare `genlock` is a mistake without words: its help was shown instead.
        if words:
            sys.stderr.write(f"genlock: {words}\n")
        raise SystemExit(2) from None
    except typer.Abort:
        raise SystemExit(1) from None
    except GenlockError as error:
        sys.stderr.write(f"genlock: {error}\n")
        raise SystemExit(1) from None
    except TimeoutError:
        sys.stderr.write("genlock: the connection did not come up in time; does UDP reach the gateway?\n")
        raise SystemExit(1) from None
    raise SystemExit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
