"""Two ends of a link without a socket: bytes go from one to the other by hand, in any pieces."""

from collections.abc import Iterable, Sequence
from itertools import count

from genlock_core.claims.pulse import EnginePhase, Pulse
from genlock_core.clock import ManualClock
from genlock_core.link.events import ChannelOpened, Event, LinkIdentity, MediaDropped, OpenRequested
from genlock_core.link.liveness import LinkTimings
from genlock_core.link.messages import LinkRole, Open
from genlock_core.link.outbox import OutboxLimits
from genlock_core.link.protocol import LinkProtocol, LinkState

GATEWAY = LinkIdentity(LinkRole.GATEWAY, "g0", "g0-a")
WORKER = LinkIdentity(LinkRole.WORKER, "w0", "w0-a")
SECRET = b"s" * 32
SESSION = "default/demo"


class Peers:
    """A gateway's end and a worker's; `events` holds what each was told."""

    def __init__(
        self,
        *,
        gateway_secrets: Sequence[bytes] = (SECRET,),
        worker_secrets: Sequence[bytes] = (SECRET,),
        expect: LinkIdentity | None = WORKER,
        limits: OutboxLimits | None = None,
        timings: LinkTimings | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.progress = 0
        self.alive = 0
        self.phase = EnginePhase.STEPPING
        self.drops: list[MediaDropped] = []
        nonces = count(1)

        def nonce(size: int) -> bytes:
            return next(nonces).to_bytes(size, "big")

        self.gateway = LinkProtocol(
            GATEWAY,
            gateway_secrets,
            clock=self.clock,
            on_drop=self.drops.append,
            expect=expect,
            limits=limits,
            timings=timings,
            nonce=nonce,
        )
        self.worker = LinkProtocol(
            WORKER,
            worker_secrets,
            clock=self.clock,
            on_drop=self.drops.append,
            pulse=lambda: Pulse(self.progress, self.alive, self.phase),
            limits=limits,
            timings=timings,
            nonce=nonce,
        )
        self.events: dict[LinkProtocol, list[Event]] = {self.gateway: [], self.worker: []}

    def other(self, end: LinkProtocol) -> LinkProtocol:
        return self.worker if end is self.gateway else self.gateway

    def deliver(self, end: LinkProtocol, pieces: Iterable[bytes] | None = None) -> None:
        """Bring what `end` has to say to the other one, whole or in these pieces."""
        receiver = self.other(end)
        for piece in [b"".join(end.data_to_send())] if pieces is None else pieces:
            self.events[receiver] += receiver.receive(piece)

    def settle(self) -> None:
        """Deliver until nobody has anything to say."""
        while self.gateway.has_data_to_send or self.worker.has_data_to_send:
            self.deliver(self.gateway)
            self.deliver(self.worker)

    def told(self, end: LinkProtocol) -> list[Event]:
        """What `end` was told since the last time."""
        events, self.events[end] = self.events[end], []
        return events


def connected(**options: object) -> Peers:
    """Peers after the handshake."""
    peers = Peers(**options)  # type: ignore[arg-type]
    peers.settle()
    assert peers.gateway.state is peers.worker.state is LinkState.CONNECTED
    peers.told(peers.gateway)
    peers.told(peers.worker)
    return peers


def opened(peers: Peers, *, epoch: int = 7, session: str = SESSION) -> int:
    """Open a channel and give its number."""
    number = peers.gateway.open(Open(session=session, epoch=epoch, gateway="g0"))
    peers.settle()
    (asked,) = peers.told(peers.worker)
    assert isinstance(asked, OpenRequested)
    assert peers.worker.accept(number, epoch)
    peers.settle()
    assert peers.told(peers.gateway) == [ChannelOpened(number, session, epoch)]
    return number
