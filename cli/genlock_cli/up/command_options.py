"""The options of `genlock up`, each by its name; the signature of the command gives their defaults."""

from pathlib import Path
from typing import Annotated

import typer

from genlock_cli.options import duration_option
from genlock_cli.up.hardware import EngineName
from genlock_cli.worker_options import worker_option

Manifests = Annotated[
    list[str] | None,
    typer.Argument(help="Manifests with StreamSessions; - is stdin; left out: the demo.", metavar="[MANIFEST]..."),
]
Workers = Annotated[int, typer.Option(min=1, max=16, help="Workers for each model of the manifest.")]
Gateways = Annotated[int, typer.Option(min=1, max=8, help="Gateways, on neighbouring ports.")]
Engine = Annotated[EngineName, typer.Option(help="Engine of the workers: mock needs no GPU; diffusion is the model.")]
Model = Annotated[
    str | None, typer.Option(help="Model of the demo, at a size that it was measured at; tiny runs on a CPU.")
]
Weights = Annotated[
    Path | None, typer.Option(help="Folder of the models' weights (genlock models).", exists=True, file_okay=False)
]
Device = Annotated[str | None, worker_option("device")]
Host = Annotated[str, typer.Option(help="Address to serve on; other machines need tokens and https.")]
Port = Annotated[
    int, typer.Option(min=0, max=65_000, help="TCP port of the page and UDP port of the media; 0: free ones.")
]
MediaHosts = Annotated[
    list[str] | None,
    typer.Option(metavar="IP", help="Address that media goes over; repeatable. Left out: each of this machine's own."),
]
Origins = Annotated[
    list[str] | None,
    typer.Option(help="Web site whose pages may show the public sessions, https://HOST, or * for all; repeatable."),
]
Lan = Annotated[
    bool,
    typer.Option(
        "--lan", help="Serve phones of this network as well: https, a QR code to scan, and tokens for all sessions."
    ),
]
LanPort = Annotated[int, typer.Option(min=0, max=65_000, help="TCP port of https for the network; 0: a free one.")]
LanCertificate = Annotated[
    Path | None, typer.Option(help="PEM file of a certificate for https; left out: one is made and kept.")
]
LanKey = Annotated[Path | None, typer.Option(help="PEM file of that certificate's key.")]
Redis = Annotated[str | None, typer.Option(help="URL of a Redis to use instead of an own one.")]
GpuProduct = Annotated[
    str | None,
    typer.Option(help="GPU whose measured profile sizes the sessions; mock: NVIDIA-H100, else this machine's."),
]
Profiles = Annotated[
    list[Path] | None,
    typer.Option(help="File of `genlock profile`: its rows size sessions, and workers go by them; repeatable."),
]
Gpus = Annotated[int | None, typer.Option(min=1, max=8, help="GPUs of each worker; mock: 4, else 1.")]
MediaRoot = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the files that sessions play; the manifest's if left out.", exists=True, file_okay=False
    ),
]
OwnStateDirectory = Annotated[
    Path | None, typer.Option(help="Where secret, logs and data lie; else GENLOCK_STATE_DIR.")
]
DrainTimeout = Annotated[float, duration_option("How long a worker may take to hand its sessions over.", default="20s")]
AsJsonLines = Annotated[
    bool, typer.Option("--json", help="Print the sessions as JSON lines; an error is an object on stderr.")
]
