"""The certificate with which `genlock up --lan` serves HTTPS: made here and signed by itself, or the user's own.

A browser on a phone gives a page its camera over HTTPS only. It warns once of a certificate that nobody else signed;
its fingerprint is shown, so that whoever wants to can compare.
"""

import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from genlock_core.errors import BadInput, GenlockError

VALID_FOR: Final = timedelta(days=397)
"""Browsers take no certificate that is good for longer than 398 days."""
RENEWED_BEFORE: Final = timedelta(days=30)
CLOCKS_DIFFER: Final = timedelta(days=1)
"""A phone whose clock is behind must not find a certificate that begins in its future."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files of a certificate and of its key, and what a person compares."""

    certificate: Path
    key: Path
    fingerprint: str
    """SHA-256 of the certificate, as browsers show it: `AB:CD:...`."""
    own: bool
    """Whether this machine made it, so that browsers warn of it."""


def given_certificate(certificate: Path, key: Path) -> CertificateFiles:
    """The user's own. Raises GenlockError if there is no certificate in the file; a gateway says what the key is."""
    return CertificateFiles(certificate.resolve(), key.resolve(), _fingerprint(_read(certificate)), own=False)


def own_certificate(folder: Path, addresses: Sequence[str], *, now: datetime | None = None) -> CertificateFiles:
    """The certificate of this machine under these IP addresses, kept in `folder`, which is private to its user.

    The one that is there is used while it names all of the addresses and lasts: a phone that took it once asks no more.
    Raises OSError.
    """
    moment = now or datetime.now(UTC)
    files = folder / "certificate.pem", folder / "key.pem"
    try:
        found = _read(files[0])
    except GenlockError:
        found = None
    if found is None or not files[1].exists() or not _serves(found, addresses, moment):
        found = _make(*files, addresses, moment)
    return CertificateFiles(*files, _fingerprint(found), own=True)


def _serves(certificate: x509.Certificate, addresses: Sequence[str], now: datetime) -> bool:
    lasts = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEWED_BEFORE
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return lasts and set(map(ipaddress.ip_address, addresses)) <= set(names.get_values_for_type(x509.IPAddress))


def _make(path: Path, key_path: Path, addresses: Sequence[str], now: datetime) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname().partition(".")[0] or "genlock"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Genlock on {host}"[:64])])
    hosts = ["localhost", *([host, f"{host}.local"] if host.isascii() else [])]
    ips = dict.fromkeys(["127.0.0.1", "::1", *addresses])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now - CLOCKS_DIFFER + VALID_FOR)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(one) for one in dict.fromkeys(hosts)]
                + [x509.IPAddress(ipaddress.ip_address(one)) for one in ips]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The key first: a certificate that is there has one.
    path.unlink(missing_ok=True)
    write_privately(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return certificate


def write_privately(path: Path, content: bytes) -> None:
    """A file that only its user may read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _read(path: Path) -> x509.Certificate:
    """Raises GenlockError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read the certificate {path}: {error.strerror or error}") from None
    except ValueError:
        raise BadInput(f"{path} holds no certificate in PEM form") from None


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
