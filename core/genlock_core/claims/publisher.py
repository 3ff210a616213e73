"""Who publishes to a session, and which gateways there are: small leases that their holders keep alive.

Any gateway can tell a publisher that comes back (same key: it takes its slot over) from a second one (a conflict).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genlock_core.claims.facts import PublisherConflict
from genlock_core.claims.lua import Scripts
from genlock_core.store import Store


@dataclass(frozen=True, slots=True)
class Publication:
    """One publication: its WHIP resource, at a gateway, and its run number."""

    gateway: str
    resource: str
    run: int


@dataclass(frozen=True, slots=True)
class PublisherSlot:
    """The slot is the caller's. `run` grows with every publication: it orders the source frames of successive ones.

    `previous` is the publication that it took over from while that one still held the slot; its gateway closes it.
    """

    run: int
    previous: Publication | None


class Publishers:
    """One publisher per session. A slot lives 3 s after it was last kept, and ends at once with its gateway."""

    def __init__(self, store: Store, *, now_ms: Callable[[], int] | None = None) -> None:
        self._scripts = Scripts(store, now_ms=now_ms)

    async def enter(self, session: str, *, key: str, gateway: str, resource: str) -> PublisherSlot:
        """Take the session's slot for `resource` at `gateway`; the same `key` takes over from itself.

        Entering again with the same resource gives the same run. Raises PublisherConflict while another key holds it.
        """
        reply = await self._scripts.run("publisher_enter", session, key, gateway, resource)
        if reply[0] == "conflict":
            raise PublisherConflict(session, reply[1])
        _, run, *previous = reply
        return PublisherSlot(int(run), Publication(previous[0], previous[1], int(previous[2])) if previous else None)

    async def keep(self, session: str, *, resource: str) -> bool:
        """Keep the slot for another 3 s; once a second. False if it is not `resource`'s any more: close it."""
        (kept,) = await self._scripts.run("publisher_keep", session, resource)
        return bool(kept)

    async def leave(self, session: str, *, resource: str) -> bool:
        """Free the slot; False (and nothing happens) if it is not `resource`'s any more."""
        (left,) = await self._scripts.run("publisher_leave", session, resource)
        return bool(left)

    async def current(self, session: str) -> Publication | None:
        """The publication that holds the slot now."""
        reply = await self._scripts.run("publisher_current", session)
        return Publication(reply[0], reply[1], int(reply[2])) if reply else None


class Gateways:
    """The gateways that are up, and where their HTTP is: how any of them forwards a request to the one it names."""

    def __init__(self, store: Store, *, now_ms: Callable[[], int] | None = None) -> None:
        self._scripts = Scripts(store, now_ms=now_ms)

    async def announce(self, name: str, http: str, ttl_s: float) -> None:
        """Gateway `name` is reachable at `http` (a URL) for the next `ttl_s` seconds; repeat it well within."""
        await self._scripts.run("gateway_announce", name, http, int(ttl_s * 1_000))

    async def withdraw(self, name: str) -> None:
        """The gateway goes; its publishers' slots are free at once."""
        await self._scripts.run("gateway_announce", name, "", 0)

    async def find(self, name: str) -> str | None:
        """The HTTP URL of a gateway that is up."""
        return (await self.all()).get(name)

    async def all(self) -> Mapping[str, str]:
        """Name -> HTTP URL of every gateway that is up."""
        flat: list[Any] = await self._scripts.run("gateways")
        return dict(zip(flat[::2], flat[1::2], strict=True))
