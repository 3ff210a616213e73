"""The options that say which session of which gateway a command means: the same on every command that has them."""

from pathlib import Path
from typing import Annotated

import typer

from genlock_cli.completion import session_names

Session = Annotated[
    str, typer.Argument(help="The session: NAME or NAMESPACE/NAME.", autocompletion=session_names, metavar="SESSION")
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace of a session that is given by its name alone.")
]
Gateway = Annotated[
    str | None,
    typer.Option(help="URL of the gateway; else that of the running `genlock up`.", envvar="GENLOCK_GATEWAY"),
]
Token = Annotated[
    str | None,
    typer.Option(help="Access token; else made with the secrets there are. An empty one: go without."),
]
StateDirectory = Annotated[
    Path | None,
    typer.Option("--state-dir", help="State folder of the `genlock up` that is meant; else GENLOCK_STATE_DIR."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; an error is an object on stderr.")]
