"""What a gateway serves where: its application behind the edge, at the public ports and at the private one."""

import socket
import ssl
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from genlock_gateway.edge.connections import Bounds
from genlock_gateway.edge.descriptors import connections_within, take_descriptors
from genlock_gateway.edge.entrance import Entrance
from genlock_gateway.edge.forwarded import NamedProxies
from genlock_gateway.edge.names import OwnNames
from genlock_gateway.edge.watch import Watch
from genlock_gateway.gateway import Gateway
from genlock_gateway.settings import EdgeSettings
from genlock_gateway.web.app import create_app
from genlock_gateway.web.health import create_health_app
from genlock_gateway.web.serving import Port, certificate_names

NEW_PER_ADDRESS: Final = 128
GRACE_S: Final = 2.0

PROBES: Final = Bounds(
    connections=32,
    per_address=32,
    new_per_address=16,
    grace_s=1.0,
    request_s=5.0,
    idle_s=5.0,
    stalled_s=10.0,
)
"""Of the private port. Whoever scrapes slowly takes nothing from the kubelet: its connections are new, and come in."""


def ports(
    gateway: Gateway,
    *,
    http: socket.socket,
    https: Sequence[socket.socket],
    health: Sequence[socket.socket],
    context: ssl.SSLContext | None,
) -> tuple[Port, ...]:
    """What is served where. Probes have connections of their own, however many others there are."""
    public = watch(gateway, bounds(gateway.settings.edge, descriptors=take_descriptors()))
    gateway.metrics.connections.set_function(public.__len__)
    app = entrance(gateway, create_app(gateway))
    return (
        Port(app=app, sockets=[http], watch=public),
        Port(app=app, sockets=https, watch=public, context=context),
        Port(app=entrance(gateway, create_health_app(gateway)), sockets=health, watch=watch(gateway, PROBES)),
    )


def entrance(gateway: Gateway, app: ASGIApp) -> Entrance:
    """The application, and before it what every request passes. Raises ValueError for a bad certificate."""
    settings = gateway.settings
    advertised = urlsplit(settings.advertise_http or "").hostname or ""
    return Entrance(
        app,
        names=OwnNames.of([advertised, *settings.edge.names, *certificate_names(settings.tls.certificate)]),
        proxies=NamedProxies(settings.edge.proxies),
        refused=lambda reason: gateway.metrics.misdirected.labels(reason=reason).inc(),
    )


def watch(gateway: Gateway, bounds: Bounds) -> Watch:
    """The watch over connections with these bounds."""
    return Watch(
        bounds,
        clock=gateway.clock,
        proxies=NamedProxies(gateway.settings.edge.proxies),
        ended=lambda why: gateway.metrics.connections_ended.labels(reason=why.value).inc(),
    )


def bounds(settings: EdgeSettings, *, descriptors: int) -> Bounds:
    """Those of the public ports together."""
    return Bounds(
        connections=min(settings.connections, connections_within(descriptors)),
        per_address=settings.connections_per_address,
        new_per_address=NEW_PER_ADDRESS,
        grace_s=GRACE_S,
        request_s=settings.request_timeout_s,
        idle_s=settings.idle_timeout_s,
        stalled_s=settings.stall_timeout_s,
    )
