"""Whether the operator works, by what it did last; and the small HTTP server that says so.

Alive: every loop goes round, what waits is worked on, and the lease, which changes every second, is heard of through a
watch. Ready: everything was listed; a replica that stands by is ready too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from genlock_core.clock import Clock
from genlock_core.process.address import Address

STUCK_AFTER_S: Final = 60.0
WATCH_DEAF_AFTER_S: Final = 150.0
"""More than twice what kopf needs to find a dead stream and to make a new one."""
BACKLOG: Final = 32


@dataclass(slots=True)
class OperatorHealth:
    """`beat` by every loop when it got round; `problems` says what is wrong."""

    clock: Clock
    watch_age_s: Callable[[], float | None]
    synced: Callable[[], bool]
    waiting: Callable[[], int]
    """Keys that wait for work, 0 while this replica stands by."""
    _beats: dict[str, float] = field(default_factory=dict)
    _started_s: float | None = None

    def beat(self, loop: str) -> None:
        """The loop is alive. One that never was is not missed."""
        self._beats[loop] = self.clock.monotonic()

    def problems(self) -> list[str]:
        """Why the process should be started again; nothing if it works."""
        now = self.clock.monotonic()
        if self._started_s is None:
            self._started_s = now
        found = [
            f"the loop {loop} has not gone round for {now - beat_s:.0f} s"
            for loop, beat_s in self._beats.items()
            if now - beat_s > STUCK_AFTER_S and (loop != "reconcile" or self.waiting())
        ]
        age_s = self.watch_age_s()
        age_s = now - self._started_s if age_s is None else age_s
        if age_s > WATCH_DEAF_AFTER_S:
            found.append(f"the watches have told nothing for {age_s:.0f} s")
        return found

    def unready(self) -> list[str]:
        """Why it cannot take over yet."""
        return [] if self.synced() else ["not everything is listed yet"]


class HealthServer:
    """/healthz, /readyz and /metrics; `start`, then `stop`."""

    def __init__(self, address: Address, health: OperatorHealth, registry: CollectorRegistry) -> None:
        self._address, self._health, self._registry = address, health, registry
        app = web.Application(client_max_size=1024)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=5.0, handle_signals=False)

    async def start(self) -> int:
        """The port that it serves on. Raises OSError if it is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address.host, self._address.port, backlog=BACKLOG).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _verdict(self._health.problems())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._health.unready())

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _verdict(problems: list[str]) -> web.Response:
    return web.Response(status=503 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")
