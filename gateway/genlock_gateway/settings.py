"""What an operator may set on a gateway, as options of `genlock-gateway` and as environment variables.

`--max-peers` is `GENLOCK_GATEWAY_MAX_PEERS`, and so on; an option wins over its variable. Secrets have no option, as
other users of a machine can read those: they come from `GENLOCK_SECRETS` or `GENLOCK_SECRETS_FILE`.
"""

import argparse
import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ENVIRONMENT_PREFIX = "GENLOCK_GATEWAY_"
GATEWAY_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_ICE_SCHEME = re.compile(r"(stun|stuns|turn|turns):[^\s,<>\"]{1,255}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and a port; port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`127.0.0.1:8080` or `[::1]:8080`. Raises ValueError."""
        host, separator, port = text.rpartition(":")
        if not separator or not port.isdecimal() or int(port) > 65_535:
            raise ValueError(f"{text!r} is not an address; write for example 127.0.0.1:8080")
        return cls(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - what an empty host means


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server that clients are told of."""

    url: str
    username: str | None = None
    credential: str | None = None

    @classmethod
    def parse(cls, text: str) -> "IceServer":
        """`stun:host:3478` or `turn:host:3478?transport=udp,username=u,credential=c`. Raises ValueError."""
        url, *rest = text.strip().split(",")
        fields = dict(part.split("=", 1) for part in rest if "=" in part)
        if not _ICE_SCHEME.fullmatch(url) or set(fields) - {"username", "credential"} or len(fields) != len(rest):
            raise ValueError("an ICE server is stun:HOST:PORT or turn:HOST:PORT?transport=udp,username=U,credential=C")
        if url.startswith("turn") and set(fields) != {"username", "credential"}:
            raise ValueError(f"{url} needs username=... and credential=...")
        if any(not value.isprintable() or '"' in value or "\\" in value for value in fields.values()):
            raise ValueError(f"username and credential of {url} must be printable, without quotes and backslashes")
        return cls(url, fields.get("username"), fields.get("credential"))


class SessionsFrom(StrEnum):
    """Where sessions come from and end: over this gateway's REST interface, or as resources of a cluster."""

    API = "api"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """The platform's key for access tokens that it signs itself."""

    public_key: str
    """PEM of an Ed25519 or RSA public key."""
    issuer: str | None
    audience: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much this gateway takes on before it says 503 or 429."""

    peers: int = 4_000
    """Peer connections at once."""
    viewers_per_session: int = 2_000
    """Viewers of one session on this gateway."""
    event_streams: int = 2_000
    """SSE streams at once."""
    requests_per_s: float = 50.0
    """POST, PATCH and DELETE of one address, sustained."""
    request_burst: float = 500.0
    """POST, PATCH and DELETE of one address at once."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """All of it."""

    name: str
    redis_url: str
    http: Address
    advertise_http: str | None
    """Base URL under which other gateways reach this one; None: made from the address that was bound."""
    udp: Address
    advertise_ips: tuple[str, ...]
    """Addresses in the ICE candidates; none: those of the machine."""
    ice_servers: tuple[IceServer, ...] = ()
    jwt: JwtSettings | None = None
    limits: Limits = Limits()
    profiles: tuple[Path, ...] = ()
    """ModelProfiles of one's own machines, beside those that come with Genlock; for sessions made over REST."""
    sessions: SessionsFrom = SessionsFrom.API
    redis_wait_s: float = 0.0
    """How long to wait at the start for a Redis that does not answer yet."""
    drain_timeout_s: float = 20.0
    """How long a drain waits for its clients to go."""
    log_format: str = "text"
    log_level: str = "info"


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> GatewaySettings:
    """Read options and environment. Exits with a usage message on a mistake, as argparse does."""
    parser = _parser(environment)
    options = parser.parse_args(arguments)
    if not GATEWAY_NAME.fullmatch(options.name):
        parser.error(f"--name {options.name!r}: small letters, digits, '-' and '.', at most 63 of them")
    try:
        return GatewaySettings(
            name=options.name,
            redis_url=options.redis,
            http=Address.parse(options.http),
            advertise_http=options.advertise_http.rstrip("/") or None,
            udp=Address.parse(options.udp),
            advertise_ips=tuple(
                str(ipaddress.ip_address(ip)) for ip in _several(options.advertise_ip, environment, "ADVERTISE_IP")
            ),
            ice_servers=tuple(
                IceServer.parse(text) for text in _several(options.ice_server, environment, "ICE_SERVER")
            ),
            jwt=_jwt(options),
            limits=Limits(
                peers=options.max_peers,
                viewers_per_session=options.max_viewers_per_session,
                event_streams=options.max_event_streams,
                requests_per_s=options.requests_per_s,
                request_burst=options.request_burst,
            ),
            profiles=tuple(Path(path) for path in _several(options.profile, environment, "PROFILE")),
            sessions=SessionsFrom(options.sessions),
            redis_wait_s=options.redis_wait_s,
            drain_timeout_s=options.drain_timeout_s,
            log_format=options.log_format,
            log_level=options.log_level,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="genlock-gateway", description="The gateway of Genlock: WHIP, WHEP, control, pages."
    )
    defaults = Limits()

    def variable(flag: str) -> str:
        return ENVIRONMENT_PREFIX + flag.removeprefix("--").replace("-", "_").upper()

    def option(
        flag: str, default: str, meaning: str, *, kind: type = str, choices: tuple[str, ...] | None = None
    ) -> None:
        name = variable(flag)
        parser.add_argument(
            flag, default=environment.get(name, default), type=kind, choices=choices, help=f"{meaning} [{name}]"
        )

    def repeated(flag: str, meaning: str) -> None:
        parser.add_argument(
            flag, action="append", help=f"{meaning}; may be given several times [{variable(flag)}, spaces between]"
        )

    option("--name", _default_name(), "this gateway's name, unique in the installation")
    option("--redis", "redis://127.0.0.1:6379", "URL of Redis")
    option("--http", "127.0.0.1:8080", "address to serve HTTP on")
    option("--advertise-http", "", "base URL under which other gateways reach this one")
    option("--udp", "0.0.0.0:0", "address of the one UDP port for media")
    repeated("--advertise-ip", "IP address that clients reach this gateway by")
    repeated("--ice-server", "stun:HOST:PORT or turn:HOST:PORT?transport=udp,username=U,credential=C")
    option("--jwt-public-key", "", "PEM file with the platform's Ed25519 or RSA public key")
    option("--jwt-issuer", "", "required `iss` of such a token")
    option("--jwt-audience", "", "required `aud` of such a token")
    option("--max-peers", str(defaults.peers), "peer connections at once", kind=int)
    option("--max-viewers-per-session", str(defaults.viewers_per_session), "viewers of one session here", kind=int)
    option("--max-event-streams", str(defaults.event_streams), "SSE streams at once", kind=int)
    option("--requests-per-s", str(defaults.requests_per_s), "changing requests of one address, sustained", kind=float)
    option("--request-burst", str(defaults.request_burst), "changing requests of one address at once", kind=float)
    repeated("--profile", "file of `genlock profile` that sizes sessions too")
    option(
        "--sessions",
        SessionsFrom.API.value,
        "api: made and ended over REST; cluster: only as StreamSessions of Kubernetes, with kubectl",
        choices=tuple(SessionsFrom),
    )
    option("--redis-wait-s", "0", "seconds that the start waits for a Redis that does not answer yet", kind=float)
    option("--drain-timeout-s", "20", "seconds that a drain waits for clients to go", kind=float)
    option("--log-format", "text", "how to log", choices=("text", "json"))
    option("--log-level", "info", "least severity that is logged", choices=("debug", "info", "warning", "error"))
    return parser


def _several(options: list[str] | None, environment: Mapping[str, str], variable: str) -> list[str]:
    return environment.get(ENVIRONMENT_PREFIX + variable, "").split() if options is None else options


def _jwt(options: argparse.Namespace) -> JwtSettings | None:
    if not options.jwt_public_key:
        return None
    return JwtSettings(
        public_key=Path(options.jwt_public_key).read_text(encoding="ascii"),
        issuer=options.jwt_issuer or None,
        audience=options.jwt_audience or None,
    )


def _default_name() -> str:
    host = re.sub(r"[^a-z0-9-]", "-", socket.gethostname().lower()).strip("-")[:48] or "gateway"
    return f"{host}-{secrets.token_hex(3)}"
