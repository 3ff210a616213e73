"""The command `genlock up`: its options, its progress, and its live table (plain lines where there is no terminal)."""

import asyncio
import ipaddress
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from genlock_cli.state_dir import StateDir
from genlock_cli.up import command_options as options
from genlock_cli.up.hardware import EngineName, Hardware, gpu_names, hardware, threads_per_worker
from genlock_cli.up.lan import DEFAULT_PORT, find_lan, with_tokens
from genlock_cli.up.local import LocalGenlock
from genlock_cli.up.plan import UpOptions, models_of
from genlock_cli.up.ports import choose_ports
from genlock_cli.up.sessions import (
    default_manifest,
    demo_sessions,
    media_root_of,
    read_sessions,
    require_model,
    require_stand_ins,
    shown_on,
)
from genlock_cli.up.view import UpView
from genlock_cli.ups import Ups
from genlock_cli.worker_options import worker_arguments
from genlock_core.clock import SystemClock
from genlock_core.errors import BadInput
from genlock_core.process.signals import StopSignals
from genlock_core.process.tasks import done_before, wait_first
from genlock_core.sizing.profile import ProfileRow, own_rows, profiles_with
from genlock_core.spec.engines import EngineKind, coders_of, gpus_mistake
from genlock_core.spec.session import ResolvedSession
from genlock_gateway.rtc.transport.own_addresses import bind_addresses
from genlock_worker.engines.diffusion.weights.model_files import model_config
from genlock_worker.settings import parse_settings

REFRESH_S = 1.0
EVERY_OWN_ADDRESS: Final = "::"
_ENGINES: Final[Mapping[EngineName, EngineKind]] = {EngineName.MOCK: "mock", EngineName.DIFFUSION: "diffusion"}


def up(
    manifests: options.Manifests = None,
    workers: options.Workers = 2,
    gateways: options.Gateways = 1,
    engine: options.Engine = EngineName.MOCK,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8080,
    media_host: options.MediaHosts = None,
    origin: options.Origins = None,
    lan: options.Lan = False,
    lan_port: options.LanPort = DEFAULT_PORT,
    lan_certificate: options.LanCertificate = None,
    lan_key: options.LanKey = None,
    redis: options.Redis = None,
    gpu_product: options.GpuProduct = None,
    profile: options.Profiles = None,
    gpus: options.Gpus = None,
    media_root: options.MediaRoot = None,
    state_dir: options.OwnStateDirectory = None,
    drain_timeout: options.DrainTimeout = 20.0,
    as_json: options.AsJsonLines = False,
) -> None:
    """Run everything on this machine: Redis, workers, gateway, and the sessions of a manifest."""
    paths = manifests or [str(default_manifest())]
    profiles = tuple(profile or ())
    rows = profiles_with(profiles)
    asked = read_sessions(*paths)
    # The workers see the same environment.
    coders = coders_of(os.environ)
    there = _hardware(engine, device, rows, model=model or asked[0].model, gpu_product=gpu_product, gpus=gpus)

    if model is not None and not manifests:
        asked = demo_sessions(Path(paths[0]), model, rows, there, engine=_ENGINES[engine], coders=coders)
    elif model is not None:
        require_model(asked, model)
    sessions = shown_on(asked, origin or ())
    if lan:
        sessions = with_tokens(sessions)
    models = _models(sessions, engine)
    require_stand_ins(sessions, rows)

    state = StateDir.find(state_dir, os.environ)
    media_hosts = _media_hosts(media_host)
    plan = UpOptions(
        workers=workers,
        gateways=gateways,
        engine=_ENGINES[engine],
        engine_arguments=_engine_arguments(engine, device=device, weights=weights, workers=workers * len(models)),
        coders=coders,
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
    _serve(plan, sessions, state, redis, view)


def _serve(
    plan: UpOptions, sessions: list[ResolvedSession], state: StateDir, redis_url: str | None, view: UpView
) -> None:
    """Run it all, until a signal ends it."""
    genlock = LocalGenlock(
        plan,
        sessions,
        state=state,
        redis_url=redis_url,
        clock=SystemClock(),
        progress=view.progress,
        on_change=view.child_changed,
    )
    with state.lock(), Ups.of_this_user(os.environ).entered(state):
        asyncio.run(_run(genlock, view))


def _models(sessions: Sequence[ResolvedSession], engine: EngineName) -> set[str]:
    """The models of the sessions. Raises UnknownModel if the engine does not know one, before anything is started."""
    models = set(models_of(sessions))
    if engine is EngineName.DIFFUSION:
        for name in sorted(models):
            model_config(name)
    return models


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
    """What the command line says, and where it does not, what this machine has. Raises BadInput."""
    if engine is EngineName.MOCK:
        found = hardware(engine, "auto", model=model, rows=rows, names=())
    else:
        # The device may also come from the environment, which the workers see too.
        told = parse_settings(worker_arguments(device=device), os.environ).diffusion
        found = hardware(engine, told.device, model=model, rows=rows, names=gpu_names())
    there = Hardware(gpu_product or found.gpu_product, gpus or found.gpus)

    mistake = gpus_mistake(_ENGINES[engine], there.gpus)
    if mistake:
        raise BadInput(f"{mistake}: leave --gpus out")
    return there


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
