"""The addresses of this machine, best first: what a socket that is to be reached on all of them is bound to.

ICE sends an answer from the address that was asked. A socket bound to the wildcard cannot promise that on a machine
with several addresses, so each address gets a socket of its own.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import ifaddr

MAX_OWN_ADDRESSES: Final = 6
"""Without loopback. Each one more makes a client check more pairs before it is connected."""

LOOPBACK: Final = "127.0.0.1"
_NETWORKS: Final = Path("/sys/class/net")
_ELSEWHERE: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of documentation (RFC 5737, RFC 3849): nothing is sent to them."""


def bind_addresses(hosts: Iterable[str], *, own: Callable[..., tuple[str, ...]] | None = None) -> dict[str, bool]:
    """The addresses that `hosts` (IP addresses) stand for, each once.

    The wildcard stands for what `own_addresses` finds: `0.0.0.0` for IPv4, `::` for all. Those are True: what was found
    may have gone since. Raises ValueError for what is no IP address.
    """
    wanted: dict[str, bool] = {}
    for host in hosts:
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            wanted |= dict.fromkeys((own or own_addresses)(ipv6=address.version == 6), True)
        else:
            wanted[str(address)] = False
    return wanted


def own_addresses(*, ipv6: bool = True) -> tuple[str, ...]:
    """The addresses that are up, at most `MAX_OWN_ADDRESSES`, those of the default route first; then 127.0.0.1.

    Loopback comes last and always: it serves a browser on this machine while there is no network.
    """
    found = [
        address
        for adapter in ifaddr.get_adapters()
        if _is_up(adapter.name)
        for address in (item.ip if isinstance(item.ip, str) else item.ip[0] for item in adapter.ips)
    ]
    usual = [_usual(family) for family in _ELSEWHERE]
    return choose(found, usual=[address for address in usual if address is not None], ipv6=ipv6)


def choose(found: Iterable[str], *, usual: Iterable[str], ipv6: bool) -> tuple[str, ...]:
    """Which of a machine's addresses are used, in which order; `usual` are those that it sends from by default.

    Link-local IPv6 addresses are left out: SDP cannot name the link that they need.
    """
    known = [ipaddress.ip_address(address.partition("%")[0]) for address in found]
    first = [ipaddress.ip_address(address) for address in usual]
    wanted = {
        address
        for address in known
        if not (address.is_loopback or address.is_unspecified or address.is_multicast)
        and not (address.version == 6 and (address.is_link_local or not ipv6))
    }

    def place(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> tuple[bool, bool, int, int]:
        # IPv4 link-local ones (no DHCP server answered) are the least likely to lead anywhere.
        return (address.is_link_local, address not in first, address.version, known.index(address))

    chosen = sorted(wanted, key=place)[:MAX_OWN_ADDRESSES]
    return (*(str(address) for address in chosen), LOOPBACK)


def _is_up(adapter: str) -> bool:
    """False for what Linux says is down, such as the bridge of a container engine that runs no container."""
    try:
        state = (_NETWORKS / adapter / "operstate").read_text().strip()
    except OSError:
        return True  # Another system, or an alias: nobody says that it is down.
    return state not in ("down", "lowerlayerdown", "notpresent", "dormant")


def _usual(family: socket.AddressFamily) -> str | None:
    """The address that this machine would send from to the world; None without a route there."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ELSEWHERE[family], 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])
