"""The gateway's end of the link: dials a worker and proves both sides; `server` is the other end."""

import asyncio
from collections.abc import Callable, Sequence

from genlock_core.claims.silence import Rhythm
from genlock_core.clock import Clock
from genlock_core.link.closure import CloseCause, Closure, LinkDown
from genlock_core.link.connection import READ_BYTES, LinkConnection, Meter
from genlock_core.link.events import LinkIdentity, MediaDropped
from genlock_core.link.liveness import LinkTimings
from genlock_core.link.outbox import OutboxLimits
from genlock_core.link.protocol import LinkProtocol


async def connect(
    address: str,
    *,
    identity: LinkIdentity,
    secrets: Sequence[bytes],
    clock: Clock,
    expect: LinkIdentity | None = None,
    rhythm: Rhythm | None = None,
    timings: LinkTimings | None = None,
    limits: OutboxLimits | None = None,
    meter: Meter | None = None,
) -> LinkConnection:
    """Connect a gateway to the worker at `host:port` and prove both sides.

    `expect`: the worker process that the claim names; another one at its address means that it is gone (REFUSED).
    `rhythm`: what is normal for that process; the link learns more of it.
    Raises LinkDown, at the latest after `timings.handshake_s`.
    """
    timings = timings or LinkTimings()
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(timings.handshake_s):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=READ_BYTES)
    except TimeoutError:
        raise LinkDown(address, Closure(CloseCause.SILENT, f"no answer in {timings.handshake_s:g} s")) from None
    except ConnectionRefusedError as error:
        raise LinkDown(address, Closure(CloseCause.REFUSED, str(error))) from None
    except (OSError, ValueError) as error:
        raise LinkDown(address, Closure(CloseCause.RESET, str(error))) from None

    def make_protocol(on_drop: Callable[[MediaDropped], None]) -> LinkProtocol:
        return LinkProtocol(
            identity,
            secrets,
            clock=clock,
            on_drop=on_drop,
            expect=expect,
            rhythm=rhythm,
            timings=timings,
            limits=limits,
        )

    connection = LinkConnection(reader, writer, address=address, clock=clock, make_protocol=make_protocol, meter=meter)
    await connection.connected()
    return connection
