"""The worker's end of the link: listens, and lets in who knows the secret."""

from collections.abc import Awaitable, Callable, Sequence

from genlock_core.clock import Clock
from genlock_core.link.connection import LinkConnection
from genlock_core.link.events import LinkIdentity


class LinkServer:
    address: str
    connections: frozenset[LinkConnection]

    async def close(self, reason: str = "") -> None:
        raise NotImplementedError


async def serve(
    host: str,
    port: int,
    on_connection: Callable[[LinkConnection], Awaitable[None]],
    *,
    identity: LinkIdentity,
    secrets: Sequence[bytes],
    clock: Clock,
    progress: Callable[[], int],
) -> LinkServer:
    """Listen; `on_connection` runs once per proven gateway, and its link closes when it returns. `progress`: the engine's counter."""
    raise NotImplementedError
