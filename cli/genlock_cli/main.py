"""The command `genlock`."""

import logging
import sys
from typing import Annotated

import typer

from genlock_cli import models, session
from genlock_cli.profile import profile
from genlock_cli.publish import publish
from genlock_cli.record import record
from genlock_cli.up.command import up
from genlock_core.errors import GenlockError

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
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


def main() -> None:
    """Run the command; an error that Genlock knows is said in words, not as a traceback."""
    try:
        app()
    except GenlockError as error:
        sys.stderr.write(f"genlock: {error}\n")
        raise SystemExit(1) from None
    except TimeoutError:
        sys.stderr.write("genlock: the connection did not come up in time; does UDP reach the gateway?\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
