"""`genlock up --lan`: phones on the same network publish and watch, over HTTPS, with a link that carries a token.

The link is shown as a QR code, on a terminal only: whoever reads it may publish. Without a terminal it stands in a file
that only its user may read. Nothing of it is logged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import segno

from genlock_cli.up.certificate import CertificateFiles, given_certificate, own_certificate, write_privately
from genlock_cli.up.ports import choose_https_ports
from genlock_core.errors import BadInput, GenlockError
from genlock_core.process.address import Address
from genlock_core.spec.session import AccessMode, ResolvedSession
from genlock_core.tokens import Keyring, Role
from genlock_gateway.rtc.transport.own_addresses import LOOPBACK, own_addresses

DEFAULT_PORT: Final = 8443
LINK_LASTS_S: Final = 7 * 24 * 3_600
"""The secrets outlive one `genlock up`, so a photograph of the code must not be good for ever."""
QUIET_ZONE: Final = 2
"""Empty modules round a code on a terminal; scanners find it with fewer than the four of ISO/IEC 18004."""
_BLOCKS: Final = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
"""Two modules, one above the other: a dark one is a gap, as the letters of a terminal are drawn light on dark."""


@dataclass(frozen=True, slots=True)
class Lan:
    """Where phones reach this machine: its addresses on the network, best first, and the HTTPS port of gateway 0."""

    addresses: tuple[str, ...]
    port: int
    files: CertificateFiles

    def listens(self, gateway: int) -> tuple[str, ...]:
        """Where a gateway serves HTTPS; its port counts up as that of HTTP does."""
        return tuple(str(Address(address, self.port + gateway)) for address in self.addresses)

    @property
    def url(self) -> str:
        """The base URL that a phone is told."""
        return f"https://{self.listens(0)[0]}"


def find_lan(folder: Path, *, port: int, gateways: int, certificate: Path | None, key: Path | None) -> Lan:
    """`folder`: where a certificate of its own is kept; port 0: free ones. Raises GenlockError, OSError.

    GenlockError: there is no network, half a certificate, no free port.
    """
    if (certificate is None) != (key is None):
        raise BadInput("--lan-certificate and --lan-key go together: give both, or none of them")
    addresses = tuple(address for address in own_addresses() if address != LOOPBACK)
    if not addresses:
        raise GenlockError("this machine has no address on a network; connect it, or leave --lan out")

    first = port or choose_https_ports(addresses, gateways)
    if certificate is not None and key is not None:
        return Lan(addresses, first, given_certificate(certificate, key))
    return Lan(addresses, first, own_certificate(folder, addresses))


def with_tokens(sessions: Sequence[ResolvedSession]) -> list[ResolvedSession]:
    """The sessions as a network of strangers may reach them: nobody publishes or watches without a token."""
    closed = {"publish": AccessMode.TOKEN, "view": AccessMode.TOKEN}
    return [session.model_copy(update={"access": session.access.model_copy(update=closed)}) for session in sessions]


def links(base: str, sessions: Sequence[ResolvedSession], keyring: Keyring, *, now_s: float) -> tuple[str, ...]:
    """The studio of each session below `base`, with a token for its publisher. No server is sent what follows a #."""
    expires_s = int(now_s) + LINK_LASTS_S
    return tuple(
        f"{base}/studio/{session.key}#token={keyring.token(session.key, Role.PUBLISH, expires_s=expires_s)}"
        for session in sessions
    )


def keep_links(path: Path, made: Sequence[str]) -> None:
    """A line each, for whoever has no terminal to scan. Raises OSError."""
    write_privately(path, "".join(f"{link}\n" for link in made).encode())


def qr_code(text: str) -> str:
    """The code of a text as lines of a terminal, two modules to a character."""
    rows = [list(row) for row in segno.make(text, error="l", micro=False).matrix_iter(border=QUIET_ZONE)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    return "\n".join(
        "".join(_BLOCKS[upper, lower] for upper, lower in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    )
