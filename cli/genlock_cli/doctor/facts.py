"""What a machine is like, as far as `genlock up` depends on it. Looks, starts nothing, changes nothing."""

import ctypes
import importlib.util
import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from genlock_cli.redis_server import RedisServerMissing, find_redis_server
from genlock_cli.state_dir import StateDir
from genlock_cli.target import serving
from genlock_cli.up.hardware import gpu_names
from genlock_cli.up.ports import NoSuchAddress, PortTaken, check_port
from genlock_cli.ups import Ups
from genlock_core.errors import GenlockError
from genlock_gateway.rtc.transport.own_addresses import own_addresses
from genlock_worker.engines.diffusion.weights.model_files import REQUIRED, find_parts, model_folder

LIBRARIES: Final = ("av", "cv2", "aiortc", "fastapi", "uvicorn")
"""What the processes of `genlock up` import, beside what this command has imported already."""
BROWSERS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "firefox",
    "firefox-esr",
    "microsoft-edge",
    "brave-browser",
    "safari",
)
REDIS_TIMEOUT_S: Final = 2.0
ECHO_TIMEOUT_S: Final = 0.5
_TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What `genlock up` would be asked for."""

    host: str
    port: int
    redis_url: str | None
    diffusion: bool
    weights: Path | None
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What was found. An empty text is "nothing is wrong"; None is "nobody can say"."""

    cores: int
    missing_libraries: tuple[str, ...]
    state_folder: Path
    state_problem: str
    port_problem: str
    """Why `genlock up` could not have the port."""
    port_is_ours: bool
    """A running `genlock up` of this user has it."""
    redis_server: Path | None
    redis_problem: str
    """Of the Redis that was named, else of the redis-server that would be started."""
    addresses: tuple[str, ...]
    """What viewers and publishers on other machines are told: this machine's own, without loopback."""
    silent_addresses: tuple[str, ...]
    """Those on which a UDP datagram does not come from one socket of this machine to another."""
    browser: str | None
    has_screen: bool
    gpus: tuple[str, ...]
    has_driver: bool
    torch: str | None
    """Its version; None where it is not installed."""
    torch_sees_gpu: bool | None
    """None: nobody asked torch, which takes seconds."""
    weights_problem: str
    behind_installation_s: float
    """By how much the clock is behind the files of this installation; 0 where it is not."""
    is_synchronised: bool | None


def look(wanted: Wanted, state: StateDir, environment: Mapping[str, str]) -> MachineFacts:
    """Everything, in about a second; with `diffusion` a few, as torch is asked."""
    addresses = [address for address in own_addresses(ipv6=True) if address != "127.0.0.1"]
    listening = ("127.0.0.1", *addresses)
    ups = Ups.of_this_user(environment).running()
    server, server_problem = _redis_server()
    return MachineFacts(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        missing_libraries=tuple(name for name in LIBRARIES if importlib.util.find_spec(name) is None),
        state_folder=state.path,
        state_problem=_state_problem(state.path),
        port_problem=_port_problem(wanted.host, wanted.port, listening),
        port_is_ours=serving(f"http://{wanted.host}:{wanted.port}", ups) is not None,
        redis_server=server,
        redis_problem=server_problem if wanted.redis_url is None else _redis_problem(wanted.redis_url),
        addresses=tuple(addresses),
        silent_addresses=tuple(address for address in listening if not _carries_datagrams(address)),
        browser=next(filter(None, map(shutil.which, BROWSERS)), None),
        has_screen=any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")),
        gpus=gpu_names(),
        has_driver=shutil.which("nvidia-smi") is not None,
        torch=_version_of("torch"),
        torch_sees_gpu=_torch_sees_gpu() if wanted.diffusion else None,
        weights_problem=_weights_problem(wanted),
        behind_installation_s=max(0.0, Path(__file__).stat().st_ctime - time.time()),
        is_synchronised=_is_synchronised(),
    )


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _state_problem(path: Path) -> str:
    """Whether the folder, or the nearest one above it that is there, can be written."""
    try:
        while not path.exists():
            path = path.parent
        if not path.is_dir():
            return f"{path} is a file"
        return "" if os.access(path, os.W_OK | os.X_OK) else f"{path} cannot be written"
    except OSError as error:
        return f"{path}: {error.strerror}"


def _port_problem(host: str, port: int, media: Sequence[str]) -> str:
    try:
        check_port(host, port, media=media)
    except (PortTaken, NoSuchAddress) as problem:
        return str(problem)
    return ""


def _redis_server() -> tuple[Path | None, str]:
    try:
        return find_redis_server(), ""
    except RedisServerMissing as missing:
        return None, str(missing)


def _redis_problem(url: str) -> str:
    try:
        with Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError) as error:
        return f"the Redis that was named does not answer ({type(error).__name__})"
    return ""


def _carries_datagrams(address: str) -> bool:
    """Whether a datagram that is sent to this address from another socket here arrives: no firewall eats it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as hears, socket.socket(family, socket.SOCK_DGRAM) as speaks:
            hears.bind((address, 0))
            hears.settimeout(ECHO_TIMEOUT_S)
            speaks.bind((address, 0))
            speaks.sendto(b"genlock", hears.getsockname())
            return hears.recv(16) == b"genlock"
    except OSError:
        return False


def _torch_sees_gpu() -> bool | None:
    if importlib.util.find_spec("torch") is None:
        return None
    return bool(importlib.import_module("torch").cuda.is_available())


def _weights_problem(wanted: Wanted) -> str:
    if wanted.weights is None or wanted.model is None:
        return ""
    try:
        find_parts(model_folder(wanted.weights, wanted.model), *REQUIRED)
    except GenlockError as error:
        return str(error)
    return ""


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2): only its size matters, as its modes stay 0 and nothing is read from it."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_char * 252))


def _is_synchronised() -> bool | None:
    """Whether the kernel's clock follows a better one; None where the system does not say (macOS, a container)."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(_Timex()))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR
