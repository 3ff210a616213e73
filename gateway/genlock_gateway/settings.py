"""What an operator may set on a gateway: each field here is declared once, as an option of `genlock-gateway`.

`--max-peers` is also `GENLOCK_GATEWAY_MAX_PEERS`, and so on (`genlock_core.process.options`). Secrets have no option,
as other users of a machine can read those: they come from `GENLOCK_SECRETS` or `GENLOCK_SECRETS_FILE`.
"""

import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from genlock_core.process import values
from genlock_core.process.address import Address
from genlock_core.process.logs import LogSettings
from genlock_core.process.options import Clash, Computed, Program, option, read, section
from genlock_core.process.values import Kind
from genlock_gateway.edge.addresses import IpNetwork
from genlock_gateway.edge.forwarded import PROXY
from genlock_gateway.edge.names import SERVER_NAME
from genlock_gateway.ice_servers import ICE_SERVER_SHAPE, IceServer, TurnSecret

PROGRAM: Final = Program("genlock-gateway", "GENLOCK_GATEWAY_", "The gateway of Genlock: WHIP, WHEP, control, pages.")

_NAME = r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?"


class SessionsFrom(StrEnum):
    """Where sessions come from and end: over this gateway's REST interface, or as resources of a cluster."""

    API = "api"
    CLUSTER = "cluster"


def _ip_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("must be an IP address, such as 192.0.2.1 or 2001:db8::1") from None


_ICE_SERVER = Kind(
    ICE_SERVER_SHAPE, IceServer.parse, {"type": "string", "pattern": r"^(stun|stuns|turn|turns):[^\s]+$"}
)


def _turn_secret(path: str) -> TurnSecret:
    return TurnSecret.parse(values.content().parse(path))


def _default_name(_: Mapping[str, str]) -> str:
    host = re.sub(r"[^a-z0-9-]", "-", socket.gethostname().lower()).strip("-")[:48] or "gateway"
    return f"{host}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """The platform's key for access tokens that it signs itself."""

    public_key: str | None = option(
        values.optional(values.content()),
        "",
        "PEM file with the platform's Ed25519 or RSA public key; left out: no JWT is taken",
        name="jwt-public-key",
    )
    """The PEM itself."""
    issuer: str | None = option(values.optional(values.text()), "", "required `iss` of such a token", name="jwt-issuer")
    audience: str | None = option(
        values.optional(values.text()), "", "required `aud` of such a token", name="jwt-audience"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """HTTPS of the gateway's own. Behind an ingress it needs none."""

    listen: tuple[Address, ...] = option(
        values.several(values.address()), "", "address to serve HTTPS on, beside HTTP", name="https"
    )
    certificate: Path | None = option(
        values.optional(values.path()), "", "PEM file with the certificate of HTTPS", name="https-certificate"
    )
    key: Path | None = option(
        values.optional(values.path()), "", "PEM file with the key of that certificate", name="https-key"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """What a request and a connection have to be before this gateway looks at them."""

    names: tuple[str, ...] = option(
        values.several(SERVER_NAME),
        "",
        "name that this gateway has for clients (*.example.org: each name one label longer), beside its IP addresses, "
        "localhost and the names in --advertise-http and --https-certificate; requests under other names are refused",
        name="server-name",
    )
    proxies: tuple[IpNetwork, ...] = option(
        values.several(PROXY),
        "",
        "proxy whose X-Forwarded-For and X-Forwarded-Proto count; left out: nobody's do, also not this machine's",
        name="proxy",
    )
    connections: int = option(
        values.whole(1, 1_000_000),
        "8000",
        "connections over HTTP at once; fewer where the system gives fewer descriptors (ulimit -n)",
        name="max-connections",
    )
    connections_per_address: int = option(
        values.whole(1, 1_000_000),
        "2000",
        "of these from one IPv4 address, or from one IPv6 network of 64 bits; those of a --proxy are not counted",
        name="max-connections-per-address",
    )
    request_timeout_s: float = option(
        values.duration(0.1, 3_600.0), "10s", "how long a request may take to come, with its body"
    )
    idle_timeout_s: float = option(
        values.duration(0.1, 3_600.0), "5s", "how long a connection is kept open for another request"
    )
    stall_timeout_s: float = option(
        values.duration(0.1, 3_600.0), "30s", "how long a client may take nothing of what it is sent"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much this gateway takes on before it says 503 or 429."""

    peers: int = option(values.whole(1, 1_000_000), "4000", "peer connections at once", name="max-peers")
    viewers_per_session: int = option(
        values.whole(1, 1_000_000), "2000", "viewers of one session here", name="max-viewers-per-session"
    )
    event_streams: int = option(values.whole(1, 1_000_000), "2000", "SSE streams at once", name="max-event-streams")
    requests_per_s: float = option(
        values.rate(0.001),
        "50/s",
        "POST, PATCH and DELETE of one address, sustained; all who have tokens of a session: ten times as many",
        name="request-rate",
        was="requests-per-s",
    )
    request_burst: float = option(
        values.number(1.0, 1_000_000.0), "1000", "POST, PATCH and DELETE of one address at once"
    )
    looks_per_s: float = option(
        values.rate(0.001),
        "500/s",
        "GET of one address, sustained, in sessions shown: a preview counts 2, an event stream 5, the list 10, files "
        "nothing; all who have tokens of a session: ten times as many",
        name="look-rate",
    )
    look_burst: float = option(values.number(1.0, 1_000_000.0), "5000", "GET of one address at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """All of it."""

    name: str = option(
        values.text(_NAME, must_be="small letters, digits, '-' and '.', at most 63 of them"),
        Computed("the host's name and a random ending", _default_name),
        "this gateway's name, unique in the installation",
    )
    redis_url: str = option(values.redis_url(), "redis://127.0.0.1:6379", "URL of Redis", name="redis", secret=True)
    redis_wait_s: float = option(
        values.duration(),
        "0s",
        "how long the start waits for a Redis that does not answer yet",
        was="redis-wait-s",
    )
    http: Address = option(values.address(), "127.0.0.1:8080", "address to serve HTTP on")
    health: Address | None = option(
        values.optional(values.address()),
        "",
        "private address of /healthz, /readyz and /metrics, with connections of its own; --http then has no /metrics",
    )
    advertise_http: str | None = option(
        values.optional(values.web_url()),
        "",
        "base URL under which other gateways reach this one; left out: made from the address that was bound",
    )
    udp: tuple[Address, ...] = option(
        values.several(values.address()),
        "0.0.0.0:0",
        "address of the UDP port for media, which clients are told; 0.0.0.0: each IPv4 address of the machine, "
        "[::]: each of them; several have one port number",
    )
    advertise_ips: tuple[str, ...] = option(
        values.several(Kind("IP", _ip_address)),
        "",
        "IP address that clients are told instead of the one that --udp listens on",
        name="advertise-ip",
    )
    ice_servers: tuple[IceServer, ...] = option(
        values.several(_ICE_SERVER), "", "STUN or TURN server that clients are told of", name="ice-server", secret=True
    )
    turn_secret: TurnSecret | None = option(
        values.optional(Kind("FILE", _turn_secret)),
        "",
        "file with the secret that TURN servers know too: each client gets credentials of its own, which end",
        name="turn-secret-file",
    )
    turn_lifetime_s: float = option(
        values.duration(60.0, 604_800.0), "24h", "how long such credentials are good; a longer session gets new ones"
    )
    sessions: SessionsFrom = option(
        values.member_of(SessionsFrom),
        SessionsFrom.API.value,
        "api: made and ended over REST; cluster: only as StreamSessions of Kubernetes, with kubectl",
    )
    profiles: tuple[Path, ...] = option(
        values.several(values.path()),
        "",
        "file of `genlock profile`, that sizes sessions made over REST beside the profiles of Genlock",
        name="profile",
    )
    drain_timeout_s: float = option(
        values.duration(0.0, 3_600.0), "20s", "how long a drain waits for its clients to go", was="drain-timeout-s"
    )
    jwt: JwtSettings = section(JwtSettings, "access tokens that the platform signs itself")
    tls: TlsSettings = section(TlsSettings, "HTTPS beside HTTP")
    edge: EdgeSettings = section(EdgeSettings, "who may ask, and under which name")
    limits: Limits = section(Limits, "limits, beyond which it says 503 or 429")
    log: LogSettings = section(LogSettings, "logs")

    def __post_init__(self) -> None:
        """What goes together. Raises Clash."""
        if len({bool(part) for part in (self.tls.listen, self.tls.certificate, self.tls.key)}) != 1:
            raise Clash(["https", "https-certificate", "https-key"], "go together: all three, or none")
        if len({address.port for address in self.udp}) != 1:
            raise Clash(["udp"], "must be addresses with one port number")
        if self.advertise_ips and len(self.udp) > 1:
            raise Clash(
                ["udp", "advertise-ip"], "other addresses are told for one that is listened on, not for several"
            )
        if self.turn_secret is None and (lacks := [one.url for one in self.ice_servers if one.needs_credentials]):
            raise Clash(["ice-server", "turn-secret-file"], f"{lacks[0]} needs username and credential, or the secret")


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> GatewaySettings:
    """Read options and environment. A mistake is one line on stderr, and exit status 2."""
    return read(PROGRAM, GatewaySettings, arguments, environment)
