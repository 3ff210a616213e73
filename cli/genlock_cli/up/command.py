"""The command `genlock up`: its options, its progress, and its live table (plain lines where there is no terminal)."""

import asyncio
import ipaddress
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer

from genlock_cli.options import duration_option
from genlock_cli.state_dir import StateDir
from genlock_cli.up.hardware import EngineName, Hardware, gpu_names, hardware, threads_per_worker
from genlock_cli.up.lan import DEFAULT_PORT, find_lan, with_tokens
from genlock_cli.up.local import LocalGenlock
from genlock_cli.up.plan import UpOptions
from genlock_cli.up.ports import choose_ports
from genlock_cli.up.sessions import (
    default_manifest,
    demo_sessions,
    media_root_of,
    read_sessions,
    require_model,
    shown_on,
)
from genlock_cli.up.view import UpView
from genlock_cli.ups import Ups
from genlock_cli.worker_options import worker_arguments, worker_option
from genlock_core.clock import SystemClock
from genlock_core.errors import BadInput
from genlock_core.process.signals import StopSignals
from genlock_core.process.tasks import done_before, wait_first
from genlock_core.sizing.profile import ProfileRow, own_rows, profiles_with
from genlock_core.spec.engines import EngineKind, gpus_mistake
from genlock_gateway.rtc.transport.own_addresses import bind_addresses
from genlock_worker.engines.diffusion.weights.model_files import model_config
from genlock_worker.settings import parse_settings

REFRESH_S = 1.0
EVERY_OWN_ADDRESS: Final = "::"
_ENGINES: Final[Mapping[EngineName, EngineKind]] = {EngineName.MOCK: "mock", EngineName.DIFFUSION: "diffusion"}


def up(
    manifests: Annotated[
        list[str] | None,
        typer.Argument(help="Manifests with StreamSessions; - is stdin; left out: the demo.", metavar="[MANIFEST]..."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Workers for each model of the manifest.")] = 2,
    gateways: Annotated[int, typer.Option(min=1, max=8, help="Gateways, on neighbouring ports.")] = 1,
    engine: Annotated[
        EngineName, typer.Option(help="Engine of the workers: mock needs no GPU; diffusion is the model.")
    ] = EngineName.MOCK,
    model: Annotated[
        str | None, typer.Option(help="Model of the demo, at a size that it was measured at; tiny runs on a CPU.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the models' weights (genlock models).", exists=True, file_okay=False)
    ] = None,
    device: Annotated[str | None, worker_option("device")] = None,
    host: Annotated[str, typer.Option(help="Address to serve on; other machines need tokens and https.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_000, help="TCP port of the page and UDP port of the media; 0: free ones.")
    ] = 8080,
    media_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IP", help="Address that media goes over; repeatable. Left out: each of this machine's own."
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Web site whose pages may show the public sessions, https://HOST, or * for all; repeatable."),
    ] = None,
    lan: Annotated[
        bool,
        typer.Option(
            "--lan", help="Serve phones of this network as well: https, a QR code to scan, and tokens for all sessions."
        ),
    ] = False,
    lan_port: Annotated[
        int, typer.Option(min=0, max=65_000, help="TCP port of https for the network; 0: a free one.")
    ] = DEFAULT_PORT,
    lan_certificate: Annotated[
        Path | None, typer.Option(help="PEM file of a certificate for https; left out: one is made and kept.")
    ] = None,
    lan_key: Annotated[Path | None, typer.Option(help="PEM file of that certificate's key.")] = None,
    redis: Annotated[str | None, typer.Option(help="URL of a Redis to use instead of an own one.")] = None,
    gpu_product: Annotated[
        str | None,
        typer.Option(help="GPU whose measured profile sizes the sessions; mock: NVIDIA-H100, else this machine's."),
    ] = None,
    profile: Annotated[
        list[Path] | None,
        typer.Option(help="File of `genlock profile`: its rows size sessions, and workers go by them; repeatable."),
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, max=8, help="GPUs of each worker; mock: 4, else 1.")] = None,
    media_root: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the files that sessions play; the manifest's if left out.", exists=True, file_okay=False
        ),
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Where secret, logs and data lie; else GENLOCK_STATE_DIR.")
    ] = None,
    drain_timeout: Annotated[
        float, duration_option("How long a worker may take to hand its sessions over.", default="20s")
    ] = 20.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the sessions as JSON lines; an error is an object on stderr.")
    ] = False,
) -> None:
    """Run everything on this machine: Redis, workers, gateway, and the sessions of a manifest."""
    paths = manifests or [str(default_manifest())]
    profiles = tuple(profile or ())
    rows = profiles_with(profiles)
    sessions = read_sessions(*paths)
    kind = _ENGINES[engine]
    there = _hardware(engine, device, rows, model=model or sessions[0].model, gpu_product=gpu_product, gpus=gpus)
    mistake = gpus_mistake(kind, there.gpus)
    if mistake:
        raise BadInput(f"{mistake}: leave --gpus out")
    if model is not None and not manifests:
        sessions = demo_sessions(Path(paths[0]), model, rows, there, engine=kind)
    elif model is not None:
        require_model(sessions, model)
    sessions = shown_on(sessions, origin or ())
    if lan:
        sessions = with_tokens(sessions)
    models = {session.model for session in sessions}
    if engine is EngineName.DIFFUSION:
        for name in sorted(models):
            model_config(name)  # Raises UnknownModel: known before anything is started.
    media_hosts = _media_hosts(media_host)
    state = StateDir.find(state_dir, os.environ)
    options = UpOptions(
        workers=workers,
        gateways=gateways,
        engine=kind,
        engine_arguments=_engine_arguments(engine, device=device, weights=weights, workers=workers * len(models)),
        host=host,
        port=port or choose_ports(host, gateways, media=tuple(bind_addresses(media_hosts))),
        media_hosts=media_hosts,
        gpu_product=there.gpu_product,
        gpus=there.gpus,
        profiles=profiles,
        own_rows=own_rows(profiles),
        media_root=media_root or media_root_of(paths, sessions),
        drain_timeout_s=drain_timeout,
        lan=find_lan(state.path / "lan", port=lan_port, gateways=gateways, certificate=lan_certificate, key=lan_key)
        if lan
        else None,
    )
    view = UpView(as_json=as_json, state=None if state == StateDir.default(os.environ) else state)
    genlock = LocalGenlock(
        options,
        sessions,
        state=state,
        redis_url=redis,
        clock=SystemClock(),
        progress=view.progress,
        on_change=view.child_changed,
    )
    with state.lock(), Ups.of_this_user(os.environ).entered(state):
        asyncio.run(_run(genlock, view))


def _media_hosts(given: Sequence[str] | None) -> tuple[str, ...]:
    """Addresses as a gateway takes them. Raises BadInput."""
    try:
        return tuple(str(ipaddress.ip_address(host)) for host in given or [EVERY_OWN_ADDRESS])
    except ValueError as error:
        raise BadInput(f"--media-host: {error}") from None


def _hardware(
    engine: EngineName,
    device: str | None,
    rows: Sequence[ProfileRow],
    *,
    model: str,
    gpu_product: str | None,
    gpus: int | None,
) -> Hardware:
    """What the command line says, and where it does not, what this machine has."""
    if engine is EngineName.MOCK:
        found = hardware(engine, "auto", model=model, rows=rows, names=())
    else:
        # The device may also come from the environment, which the workers see too.
        told = parse_settings(worker_arguments(device=device), os.environ).diffusion
        found = hardware(engine, told.device, model=model, rows=rows, names=gpu_names())
    return Hardware(gpu_product or found.gpu_product, gpus or found.gpus)


def _engine_arguments(engine: EngineName, *, device: str | None, weights: Path | None, workers: int) -> tuple[str, ...]:
    """What the workers are told of their engine; each of its other options is an environment variable of theirs."""
    if engine is EngineName.MOCK:
        return ()
    folder = None if weights is None else str(weights.resolve())
    threads = str(threads_per_worker(workers))
    return tuple(worker_arguments(device=device, threads=threads, weights=folder))


async def _run(genlock: LocalGenlock, view: UpView) -> None:
    stop = StopSignals.heed(drains=False).stopping
    try:
        if not await done_before(stop, genlock.start()):
            return
        view.up(genlock)
        headers = {"Authorization": f"Bearer {genlock.admin_token()}"}
        async with httpx.AsyncClient(base_url=genlock.gateway_urls[0], headers=headers, timeout=2.0) as http:
            while not stop.is_set():
                view.show(genlock, await _sessions(http))
                await wait_first(stop, timeout_s=REFRESH_S)
    finally:
        view.close()
        view.console.print("[dim]genlock up:[/dim] stopping ...", highlight=False)
        await genlock.stop()


async def _sessions(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """What the gateway says of its sessions; nothing while it is away (it is being started again)."""
    try:
        response = await http.get("/api/v1/sessions")
    except httpx.HTTPError as error:
        logging.getLogger(__name__).debug("no answer from the gateway: %s", error)
        return []
    return list(response.json()) if response.is_success else []
