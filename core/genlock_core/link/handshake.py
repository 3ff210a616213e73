"""The link's proof of both sides: three messages, HMAC-SHA256 over everything that was said.

1. The gateway says HELLO, with a nonce.
2. The worker answers HELLO, with a nonce of its own and its proof.
3. The gateway checks that proof and sends its own (AUTH).

A proof covers the role of the one who proves, both versions, identities and nonces, and the keys that were offered. So
none can be replayed, reflected, or moved to another pair of processes.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence

from genlock_core.errors import GenlockError, LinkAuthError, LinkProtocolError
from genlock_core.link.events import LinkIdentity
from genlock_core.link.frames import FrameType, LinkFrame
from genlock_core.link.messages import Auth, Close, Hello, LinkRole, parse

VERSION = 1
"""Major version: peers of different ones do not understand each other."""
MINOR = 4
"""Minor version: both sides speak the smaller of theirs.

1: subscriptions to pictures. 2: digests by row in reports. 3: trouble with the source in reports. 4: heartbeats
with two counters and a phase."""
SUBSCRIPTIONS_SINCE = 1
"""The minor version that brought SUBSCRIBE, RENEW and PICTURE. An older peer would end the link over one of them."""
SINK_DIGESTS_SINCE = 2
"""The minor version whose reports (STATS) have `sinkDigests`. An older peer is told nothing that it has no word for."""
TROUBLE_SINCE = 3
"""The minor version whose reports have `trouble`."""
PULSE_SINCE = 4
"""The minor version whose heartbeats tell a process that is alive from an engine that progresses."""
NONCE_BYTES = 32


class LinkWrongPeer(LinkProtocolError):
    """A process of the installation, but not the one that was looked for: that one is gone."""


class PeerTooOld(GenlockError):
    """The peer's minor version does not know what was asked for; the link stays as it is."""


class Handshake:
    """One end of the handshake. `start`, then `receive` every frame until `peer` is set. Both give frames to send."""

    def __init__(
        self,
        identity: LinkIdentity,
        secrets: Sequence[bytes],
        *,
        nonce: Callable[[int], bytes],
        expect: LinkIdentity | None,
    ) -> None:
        if not secrets:
            raise ValueError("a link needs at least one secret")
        self.peer: LinkIdentity | None = None
        self.minor = 0
        """The minor version that both sides speak, once `peer` is set."""
        self._role = identity.role
        self._secrets = {_key_id(secret): secret for secret in secrets}
        self._expect = expect
        self._own = Hello(
            version=VERSION,
            minor=MINOR,
            role=identity.role,
            name=identity.name,
            incarnation=identity.incarnation,
            nonce=nonce(NONCE_BYTES).hex(),
            keys=tuple(self._secrets) if identity.role is LinkRole.GATEWAY else (),
        )
        self._theirs: Hello | None = None

    @property
    def greeted(self) -> bool:
        """The peer has said HELLO, with a key that this side has: strangers do not know its name."""
        return self._theirs is not None and (self._role is LinkRole.GATEWAY or self._own.key is not None)

    def start(self) -> list[LinkFrame]:
        return [LinkFrame(FrameType.HELLO, payload=self._own.to_json())] if self._role is LinkRole.GATEWAY else []

    def receive(self, frame: LinkFrame) -> list[LinkFrame]:
        """Raises LinkProtocolError; LinkAuthError for a wrong proof, LinkWrongPeer for another process."""
        if frame.type is FrameType.CLOSE and frame.channel == 0:
            raise _complaint(parse(Close, frame.payload))

        # A worker that has heard HELLO waits for AUTH; everybody else waits for HELLO.
        expected = FrameType.AUTH if self._role is LinkRole.WORKER and self._theirs else FrameType.HELLO
        if frame.type is not expected:
            raise LinkProtocolError(f"{frame.type.name} came where the handshake needs {expected.name}")
        if frame.type is FrameType.AUTH:
            return self._finish_at_worker(parse(Auth, frame.payload))

        hello = parse(Hello, frame.payload)
        _check(hello, role=LinkRole.GATEWAY if self._role is LinkRole.WORKER else LinkRole.WORKER)
        self._theirs = hello
        return self._answer(hello) if self._role is LinkRole.WORKER else self._finish_at_gateway(hello)

    def _answer(self, gateway: Hello) -> list[LinkFrame]:
        key = next((offer for offer in gateway.keys if offer in self._secrets), None)
        if key is None:
            raise LinkAuthError(f"{gateway.name} has no secret in common; give both sides the installation's secrets")
        self._own = self._own.model_copy(update={"key": key})
        mac = proof(self._secrets[key], LinkRole.WORKER, gateway, self._own)
        return [LinkFrame(FrameType.HELLO, payload=self._own.model_copy(update={"mac": mac}).to_json())]

    def _finish_at_gateway(self, worker: Hello) -> list[LinkFrame]:
        secret = self._secrets.get(worker.key or "")
        if secret is None:
            raise LinkAuthError(f"{worker.name} chose a secret that was not offered")
        _check_proof(worker.mac or "", secret, LinkRole.WORKER, self._own, worker)

        # Only now is the name proven: another process of the installation may listen where the expected one did.
        identity = _identity_of(worker)
        if self._expect not in (None, identity):
            raise LinkWrongPeer(f"{identity} listens where {self._expect} did: that process is gone")

        self._accept(worker)
        mac = proof(secret, LinkRole.GATEWAY, self._own, worker)
        return [LinkFrame(FrameType.AUTH, payload=Auth(mac=mac).to_json())]

    def _finish_at_worker(self, auth: Auth) -> list[LinkFrame]:
        if self._theirs is None or self._own.key is None:
            raise LinkProtocolError("AUTH came before HELLO")
        secret = self._secrets[self._own.key]
        _check_proof(auth.mac, secret, LinkRole.GATEWAY, self._theirs, self._own)
        self._accept(self._theirs)
        return []

    def _accept(self, hello: Hello) -> None:
        self.peer = _identity_of(hello)
        self.minor = min(self._own.minor, hello.minor)


def proof(secret: bytes, prover: LinkRole, gateway: Hello, worker: Hello) -> str:
    """The prover's HMAC (hex) over both hellos, without the worker's `mac`."""
    fields = [field.encode() for field in (prover, *_said(gateway), *_said(worker))]

    # Each field with its length before it: no two different sequences of fields give the same message.
    message = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return hmac.new(secret, b"genlock link proof" + message, hashlib.sha256).hexdigest()


def _said(hello: Hello) -> list[str]:
    versions = [str(hello.version), str(hello.minor)]
    return [*versions, hello.role, hello.name, hello.incarnation, hello.nonce, " ".join(hello.keys), hello.key or ""]


def _check_proof(given: str, secret: bytes, prover: LinkRole, gateway: Hello, worker: Hello) -> None:
    if not hmac.compare_digest(given, proof(secret, prover, gateway, worker)):
        name = gateway.name if prover is LinkRole.GATEWAY else worker.name
        raise LinkAuthError(f"{prover} {name} does not know the secret; give both sides the installation's secrets")


def _key_id(secret: bytes) -> str:
    """A name for a secret that does not tell it, so that both sides find a common one while secrets are rotated."""
    return hmac.new(secret, b"genlock link key id", hashlib.sha256).hexdigest()[:16]


def _check(hello: Hello, *, role: LinkRole) -> None:
    if hello.version != VERSION:
        older = "this side" if hello.version > VERSION else "the peer"
        raise LinkProtocolError(
            f"{hello.role} {hello.name} speaks link version {hello.version}, this side {VERSION}: upgrade {older} first"
        )
    if hello.role is not role:
        raise LinkProtocolError(f"a {role} belongs at the other end of this link, {hello.name} is a {hello.role}")


def _complaint(close: Close) -> LinkProtocolError:
    """The peer's goodbye in the middle of the handshake, as the error that it is."""
    message = f"the peer refused the link: {close.reason or 'no reason given'}"
    return LinkAuthError(message) if close.fault == "auth" else LinkProtocolError(message)


def _identity_of(hello: Hello) -> LinkIdentity:
    return LinkIdentity(hello.role, hello.name, hello.incarnation)
