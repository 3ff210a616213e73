"""The processes of the stage: those of `genlock up`, whose connections can pass the doors of a relay, and so vanish.

Each worker is reached by a door of its name. What a process has to do with Redis passes the door `NAME-redis`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from bench.chaos.relay import HOST, Relay
from genlock_cli.up.children import Child
from genlock_cli.up.local import LocalGenlock
from genlock_cli.up.plan import ChildPlan
from genlock_cli.up.ports import choose_ports

GATEWAY_DRAIN_S = 5.0


def redis_door(name: str) -> str:
    return f"{name}-redis"


@asynccontextmanager
async def relay_for(*, workers: int, gateways: int, redis_port: int) -> AsyncIterator[tuple[Relay, dict[str, str]]]:
    """A relay with all doors, and where each worker listens behind its own."""
    first = choose_ports(HOST, workers, media=[])
    listens = {f"w{number}": f"{HOST}:{first + number}" for number in range(workers)}
    names = [*listens, *(f"g{number}" for number in range(gateways))]
    stores = {redis_door(name): f"{HOST}:{redis_port}" for name in names}
    async with Relay.running({**listens, **stores}) as relay:
        yield relay, listens


class StagedGenlock(LocalGenlock):
    """The same processes with the same options, but for the addresses that are theirs, and for a shorter drain.

    A gateway that has the only one address waits for clients that have nowhere to go. Without `relay` all connections
    go straight; `listens` says where each worker listens behind its door.
    """

    def __init__(self, *about: Any, relay: Relay | None = None, listens: Mapping[str, str], **settings: Any) -> None:
        super().__init__(*about, **settings)
        self._relay = relay
        self._listens = listens

    def _child(self, plan: ChildPlan) -> Child:
        words = plan.argv
        if plan.role == "gateway":
            words = (*words, "--drain-timeout", f"{GATEWAY_DRAIN_S:g}s")
        if self._relay is not None:
            words = self._relayed(plan, words, self._relay.ports)
        return super()._child(replace(plan, argv=words))

    def _relayed(self, plan: ChildPlan, words: Sequence[str], ports: Mapping[str, int]) -> tuple[str, ...]:
        words = with_option(words, "--redis", f"redis://{HOST}:{ports[redis_door(plan.name)]}/0")
        if plan.role == "worker":
            words = with_option(words, "--listen", self._listens[plan.name])
            words = (*words, "--advertise", f"{HOST}:{ports[plan.name]}")
        return words


def with_option(words: Sequence[str], option: str, value: str) -> tuple[str, ...]:
    """The command line with another value of an option that it has."""
    at = words.index(option) + 1
    return (*words[:at], value, *words[at + 1 :])
