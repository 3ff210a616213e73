"""Records a link's bytes: `record_link.py PATH`, run with the code of the release on PYTHONPATH.

It imports nothing of the tests: both ends are the release's own, and so are the words in which they tell what came.
"""

import base64
import json
import sys
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any

from genlock_core.claims.pulse import Pulse
from genlock_core.clock import ManualClock
from genlock_core.link import messages
from genlock_core.link.events import LinkIdentity
from genlock_core.link.messages import LinkRole
from genlock_core.link.protocol import LinkProtocol
from genlock_core.media import AccessUnit, Codec
from genlock_core.slo.stages import Stage, StageTimes

SECRET = b"s" * 32
SESSION = "default/demo"
EPOCH = 1_795_840_614_638
GATEWAY = LinkIdentity(LinkRole.GATEWAY, "g0", "g0-a")
WORKER = LinkIdentity(LinkRole.WORKER, "w0", "w0-a")


def told(value: Any) -> Any:
    """An event, or a part of one, as JSON: with its type's name, so that a renamed type is noticed."""
    if isinstance(value, messages.Message):
        return {"is": type(value).__name__, **value.model_dump(mode="json")}
    if is_dataclass(value):
        return {"is": type(value).__name__, **{one.name: told(getattr(value, one.name)) for one in fields(value)}}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {str(told(key)): told(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(told(one) for one in value)
    if isinstance(value, tuple | list):
        return [told(one) for one in value]
    return value


def nonces() -> Any:
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def steps(gateway: LinkProtocol, worker: LinkProtocol) -> list[tuple[str, Any]]:
    """What is said on the link, in order: who speaks, and how. Channels 1 to 3 are opened, refused, and closed."""
    unit = AccessUnit(Codec.H264, b"\x00\x00\x00\x01\x65" + bytes(range(200)), key_frame=True, capture_us=123_456)
    later = AccessUnit(Codec.VP8, b"\x10" * 50, key_frame=False, capture_us=-7)
    stages = StageTimes.of({Stage.CAPTURED: 0, Stage.FORWARDED: 1_500, Stage.RECEIVED: 0})
    wanted = messages.Open(
        session=SESSION,
        epoch=EPOCH,
        gateway="g0",
        publisher=True,
        codecs=("h264", "vp8", "av9"),
        after=messages.After(run=3, capture_us=99_000),
    )
    return [
        ("gateway", lambda: gateway.open(wanted)),
        ("worker", lambda: worker.accept(1, EPOCH)),
        ("gateway", lambda: gateway.send_source(1, present=True, run=4)),
        ("gateway", lambda: gateway.send_media(1, unit, run=4, stages=stages)),
        ("gateway", lambda: gateway.send_codecs(1, frozenset({Codec.VP8}))),
        ("gateway", lambda: gateway.nudge_control(1)),
        ("gateway", lambda: gateway.request_key_frame(1, Codec.VP8)),
        ("worker", lambda: worker.send_media(1, unit, run=4, replay=True, stages=stages)),
        ("worker", lambda: worker.send_media(1, later, run=4, late=True)),
        ("worker", lambda: worker.request_key_frame(1, Codec.H264)),
        ("worker", lambda: worker.send_stats(1, {"chunk": 7, "sinkDigest": "a" * 64, "stages": {"engine": 12.5}})),
        ("worker", lambda: worker.send_handover(1, epoch=EPOCH + 5, address="127.0.0.1:4000")),
        ("gateway", lambda: gateway.open(wanted.model_copy(update={"session": "default/other", "publisher": False}))),
        ("worker", lambda: worker.refuse(2, messages.RefusalReason.NO_SLOT, "it is full", epoch=EPOCH)),
        ("gateway", lambda: gateway.close_channel(1, "nobody watches")),
        ("worker", lambda: worker.leave("it drains")),
    ]


def make_ends() -> tuple[LinkProtocol, LinkProtocol, ManualClock]:
    clock, nonce = ManualClock(), nonces()
    gateway = LinkProtocol(GATEWAY, [SECRET], clock=clock, on_drop=print, expect=WORKER, nonce=nonce)
    worker = LinkProtocol(WORKER, [SECRET], clock=clock, on_drop=print, pulse=lambda: Pulse(41), nonce=nonce)
    return gateway, worker, clock


def deliver(sender: LinkProtocol, receiver: LinkProtocol, *, instead: bytes | None = None) -> tuple[bytes, list[Any]]:
    """Bring what `sender` says, or `instead` of it other bytes, to the other end: what it said, and what that told."""
    said = b"".join(sender.data_to_send())
    return said, [told(event) for event in receiver.receive(said if instead is None else instead)]


def speakers(gateway: LinkProtocol, worker: LinkProtocol, clock: ManualClock) -> list[tuple[str, Any]]:
    """The whole conversation: the handshake, a heartbeat of each, and `steps`."""

    def tick(end: LinkProtocol) -> None:
        clock.advance(1.0)
        end.tick()

    handshake = [(who, lambda: None) for who in ("gateway", "worker", "gateway")]
    beats = [("worker", lambda: tick(worker)), ("gateway", lambda: gateway.tick())]
    return [*handshake, *beats, *steps(gateway, worker)]


def main() -> None:
    gateway, worker, clock = make_ends()
    ends = {"gateway": (gateway, worker), "worker": (worker, gateway)}
    recorded = []
    for who, speak in speakers(gateway, worker, clock):
        speak()
        said, events = deliver(*ends[who])
        recorded.append({"from": who, "bytes": base64.b64encode(said).decode(), "told": events})
    Path(sys.argv[1]).write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
