"""That a request was passed on by another gateway of the installation, and for which client: an HMAC in one header.

The header reads `<key id> <time> <nonce> <client's address> <digest of the body> <mac>`. The MAC covers all of that and
the method and path. Time is in ms since 1970, the digest is SHA-256, both digest and MAC are hexadecimal. The key is
derived from the installation's secrets, so strangers cannot say whose request theirs is.

A proof is good once and for `WINDOW_S` before and after its time, by the clock of whoever reads it. Who reads one that
is not good takes the request as its sender's own: so a gateway of the release before, which sends none, and one whose
clock is wrong are served, and counted under their own address.
"""

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from genlock_core.clock import Clock
from genlock_core.process.address_groups import parse_address
from genlock_core.tokens import SigningKey

HEADER: Final = "Genlock-Forwarded-Proof"
WINDOW_S: Final = 30.0
MAX_NONCES: Final = 16_384
"""Proofs that are remembered so as to be good once only; older ones are forgotten first."""
MAX_CHARS: Final = 512

_PROOF: Final = re.compile(
    r"([a-zA-Z0-9_-]{1,32}) ([0-9]{1,15}) ([0-9a-f]{32}) ([0-9a-fA-F.:]{2,45}) ([0-9a-f]{64}) ([0-9a-f]{64})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class PassedOn:
    """What a good proof says."""

    client: str
    """The address of the client that made the request."""
    body_digest: str

    def has(self, body: bytes) -> bool:
        """Whether this is the body that was passed on."""
        return hmac.compare_digest(digest_of(body), self.body_digest)


class GatewayProofs:
    """`sign` what is passed on, `verify` what comes. One gateway has one of these."""

    def __init__(self, keys: Sequence[SigningKey], clock: Clock) -> None:
        """The first key signs; all of them verify."""
        self._keys = tuple(SigningKey(key.key_id, key.mac("genlock gateway v1")) for key in keys)
        self._clock = clock
        self._seen: OrderedDict[str, None] = OrderedDict()

    def sign(self, method: str, target: str, body: bytes, *, client: str) -> str:
        """The header for a request; `target` is path and query as they are sent."""
        key = self._keys[0]
        address = parse_address(client) or client
        said = f"{key.key_id} {self._clock.wall_ms()} {secrets.token_hex(16)} {address} {digest_of(body)}"
        return f"{said} {_mac(key, method, target, said)}"

    def verify(self, header: str, method: str, target: str) -> PassedOn | None:
        """What the proof says of this request; None if it is not good, or was seen before."""
        found = _PROOF.fullmatch(header) if len(header) <= MAX_CHARS else None
        if found is None:
            return None

        key_id, at_ms, nonce, client, body_digest, mac = found.groups()
        key = next((one for one in self._keys if one.key_id == key_id), None)
        if key is None or not hmac.compare_digest(mac, _mac(key, method, target, header.rpartition(" ")[0])):
            return None

        late = abs(self._clock.wall_ms() - int(at_ms)) > WINDOW_S * 1_000
        if late or nonce in self._seen or parse_address(client) is None:
            return None
        self._seen[nonce] = None
        if len(self._seen) > MAX_NONCES:
            self._seen.popitem(last=False)
        return PassedOn(client, body_digest)


def digest_of(body: bytes) -> str:
    """A body's digest as it stands in the header."""
    return hashlib.sha256(body).hexdigest()


def _mac(key: SigningKey, method: str, target: str, said: str) -> str:
    """No method has a line end, no target has one, and what was said has none: each message has one reading."""
    return key.mac(f"{method}\n{target}\n{said}").hex()
