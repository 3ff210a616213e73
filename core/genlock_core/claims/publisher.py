"""Who publishes to a session, and which gateways there are: small leases that their holders keep alive.

An offer only asks (`enter`); a connection that stands gets the slot (`promote`). So an offer that never connects moves
nothing, and a publisher goes on until its successor is there (decision 32). Any gateway can tell a publisher that comes
back (same key) from another one, which waits until the holder is silent, or says that it takes over.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genlock_core.claims.facts import LostSlot, PublicationLost, PublisherConflict, Publishing, TooManyCandidates
from genlock_core.claims.lua import Scripts
from genlock_core.store import Store


@dataclass(frozen=True, slots=True)
class Contender:
    """Who wants a session's slot: its key, and its WHIP resource at a gateway."""

    key: str
    gateway: str
    resource: str
    take_over: bool = False
    """It says that it takes the place of a publisher that is still there."""


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


@dataclass(frozen=True, slots=True)
class KeptSlot:
    """The slot is still the caller's."""

    run: int
    """Another one than before if Redis had lost the slot."""
    contended: bool
    """Somebody else wants it: find out whether its holder still answers."""


class Publishers:
    """One publisher per session. A slot lives 3 s after it was last kept, and ends at once with its gateway."""

    def __init__(self, store: Store, *, now_ms: Callable[[], int] | None = None) -> None:
        self._scripts = Scripts(store, now_ms=now_ms)

    async def enter(self, session: str, contender: Contender, *, since_ms: int | None = None) -> int:
        """Ask whether the contender may connect; returns the run that it saw, for `promote`. It has 10 s.

        Raises PublisherConflict while another key holds the slot: ask again with its `asked_ms` as `since_ms` until the
        holder was heard, or is found to be silent. Raises TooManyCandidates.
        """
        reply = await self._scripts.run("publisher_enter", session, *_words(contender), since_ms or "")
        match reply[0]:
            case "held":
                _, gateway, heard, now_ms = reply
                raise PublisherConflict(session, gateway, heard=bool(heard), asked_ms=since_ms or int(now_ms))
            case "full":
                raise TooManyCandidates(session)
        return int(reply[1])

    async def promote(
        self, session: str, contender: Contender, *, run_seen: int, highest_run: int = 0
    ) -> PublisherSlot:
        """The contender is connected: give it the slot, if that is still as it was at `enter`.

        The new run is above `highest_run`, the highest that the caller has seen. Asking again after a lost reply gives
        the same slot. Raises PublicationLost.
        """
        reply = await self._scripts.run("publisher_promote", session, *_words(contender), run_seen, highest_run)
        if reply[0] == "lost":
            raise PublicationLost(session, LostSlot(reply[1]))
        _, run, *previous = reply
        return PublisherSlot(int(run), Publication(previous[0], previous[1], int(previous[2])) if previous else None)

    async def keep(
        self,
        session: str,
        *,
        key: str,
        gateway: str,
        resource: str,
        heard_ms: int = 0,
        silent: bool = False,
        run: int = 0,
        highest_run: int = 0,
    ) -> KeptSlot | None:
        """Keep the slot for another 3 s; once a second. None if it is not `resource`'s any more: close it.

        `heard_ms` is how long ago its publisher gave a sign of life; `silent` lets anybody have its place. A slot that
        Redis lost is taken again: under `run`, its number, if nobody has published since, else under one above
        `highest_run`, the highest that the caller has seen.
        """
        reply = await self._scripts.run(
            "publisher_keep", session, key, gateway, resource, heard_ms, "1" if silent else "", highest_run, run
        )
        return KeptSlot(int(reply[1]), bool(reply[2])) if reply[0] else None

    async def leave(self, session: str, *, resource: str) -> bool:
        """Free the slot; False (and nothing happens) if it is not `resource`'s. It is no candidate any more, either."""
        (left,) = await self._scripts.run("publisher_leave", session, resource)
        return bool(left)

    async def publications(self, since_ms: Mapping[str, int]) -> dict[str, Publishing]:
        """Whether somebody publishes to each of these sessions, or has done so in the last hour and since that time.

        A session may have the name of an earlier one.
        """
        reply = await self._scripts.run("publisher_many", *since_ms) if since_ms else []
        found: dict[str, Publishing] = {}
        for (session, began_ms), run, now in zip(since_ms.items(), reply[::2], reply[1::2], strict=True):
            # The number of a publication is the time at which it began, or a little more.
            published = int(run) > 0 and int(run) >= began_ms
            found[session] = Publishing.NOW if now else Publishing.GONE if published else Publishing.NEVER
        return found


def _words(contender: Contender) -> tuple[str, str, str, str]:
    """A contender as the scripts take it."""
    return contender.key, contender.gateway, contender.resource, "1" if contender.take_over else ""


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
