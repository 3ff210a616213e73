"""How the scripts get to Redis: `scripts/<verb>.lua` behind a shared prelude, run by digest, with Redis' own time.

The figures of `rules` are written in front of the prelude, so that Lua and Python cannot differ. Every script takes the
key prefix as its only key and the time as its first argument ("" = Redis' TIME); the reply is an array. What runs out
does so by proven time (`scripts/proven_time.lua`), never by that clock.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, cast

from redis.exceptions import NoScriptError

from genlock_core.claims import keys, liveness
from genlock_core.store import Store

_FIGURES = (
    "LEASE_MS",
    "LEASE_BEYOND_PATIENCE_MS",
    "LONGEST_LEASE_MS",
    "LEASE_HEARTBEATS",
    "LATE_MS",
    "HEARTBEAT_STALE_MS",
    "HOLD_MS",
    "PROOF_MS",
    "PROOF_EVERY_MS",
    "CATCHES_UP_IN",
    "STALLED_MS",
    "SETTLE_MS",
    "WORKER_GONE_MS",
    "PUBLISHER_TTL_MS",
    "PUBLISHER_CANDIDATE_MS",
    "PUBLISHER_CANDIDATES",
    "GIVE_BACK_MS",
    "WAITS_MS",
    "ROOM_KEPT_MS",
    "HOLE_AFTER_MS",
    "HOLE_KEPT_MS",
    "HOLE_PAUSE_MS",
    "DECIDES_MS",
)

_SHARED: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "when_full": frozenset(
            {"claim", "close", "move", "orientation", "publisher_enter", "publisher_promote", "reassert", "register"}
            | {"release", "set_phase"}
        ),
        "publisher_slot": frozenset(f"publisher_{verb}" for verb in ("enter", "keep", "leave", "many", "promote")),
        "snapshot_room": frozenset({"renew", "snapshot_bookings", "snapshot_deleted"}),
        "levels": frozenset({"claim", "grant", "limit", "move", "renew", "room", "settle"}),
        "choosing": frozenset({"claim", "move", "room"}),
    }
)
"""What some scripts have in common beside the prelude, and which."""


@dataclass(frozen=True, slots=True)
class Script:
    """One verb's source, and the digest that Redis knows it by."""

    source: str
    digest: str


def load(verb: str) -> Script:
    """Read `scripts/<verb>.lua` and put in front of it the figures, the prelude, and what it has in common with others
    of its kind."""
    folder = resources.files("genlock_core.claims") / "scripts"
    shared = (part for part, verbs in _SHARED.items() if verb in verbs)
    parts = ("proven_time", "prelude", *shared, verb)
    figures = "".join(f"local {name} = {getattr(liveness, name)}\n" for name in _FIGURES)
    source = figures + "".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class Scripts:
    """Runs the scripts on one store. `now_ms` replaces Redis' time, for tests."""

    def __init__(self, store: Store, *, now_ms: Callable[[], int] | None = None) -> None:
        self._store = store
        self._now_ms = now_ms
        self._loaded: dict[str, Script] = {}

    async def run(self, verb: str, *arguments: str | int) -> list[Any]:
        """The script's reply, its strings decoded. Raises RedisError when Redis is away."""
        script = self._loaded.get(verb) or self._loaded.setdefault(verb, load(verb))
        now = "" if self._now_ms is None else self._now_ms()
        sent = (keys.PREFIX, now, *arguments)
        try:
            reply = await cast("Any", self._store.evalsha(script.digest, 1, *sent))
        except NoScriptError:
            reply = await cast("Any", self._store.eval(script.source, 1, *sent))
        return cast("list[Any]", decoded(reply))


def decoded(reply: Any) -> Any:
    """A reply with every bulk string as text."""
    if isinstance(reply, bytes):
        return reply.decode()
    if isinstance(reply, list | tuple):
        return [decoded(item) for item in reply]
    return reply
