import ipaddress
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from genlock_cli.up.certificate import CertificateFiles, given_certificate, own_certificate
from genlock_core.errors import GenlockError

ADDRESSES = ("192.0.2.7", "2001:db8::7")
NOW = datetime(2027, 3, 1, tzinfo=UTC)


def names(files: CertificateFiles) -> set[str]:
    found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*extension.get_values_for_type(x509.DNSName), *map(str, extension.get_values_for_type(x509.IPAddress))}


def test_it_names_the_addresses_and_this_machine_and_its_key_is_private(tmp_path: Path) -> None:
    files = own_certificate(tmp_path / "lan", ADDRESSES)
    assert {*ADDRESSES, "127.0.0.1", "::1", "localhost"} <= names(files)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.certificate.parent.stat().st_mode) == 0o700
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    assert files.own
    assert len(bytes.fromhex(files.fingerprint.replace(":", ""))) == 32


def test_browsers_take_it_today_and_it_lasts_no_longer_than_they_allow(tmp_path: Path) -> None:
    made = x509.load_pem_x509_certificate(own_certificate(tmp_path, ADDRESSES, now=NOW).certificate.read_bytes())
    assert made.not_valid_before_utc < NOW - timedelta(hours=1), "a phone's clock may be behind"
    assert NOW + timedelta(days=300) < made.not_valid_after_utc
    assert made.not_valid_after_utc - made.not_valid_before_utc < timedelta(days=398)


def test_a_phone_that_took_it_once_is_not_asked_again(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, ADDRESSES, now=NOW)
    assert own_certificate(tmp_path, ADDRESSES[:1], now=NOW + timedelta(days=300)) == first


@pytest.mark.parametrize("change", ["another address", "nearly over", "a key that is gone", "a broken file"])
def test_it_is_made_anew_where_the_old_one_does_not_serve(change: str, tmp_path: Path) -> None:
    first = own_certificate(tmp_path, ADDRESSES, now=NOW)
    addresses: tuple[str, ...] = ADDRESSES
    now = NOW
    match change:
        case "another address":
            addresses = (*ADDRESSES, "198.51.100.1")
        case "nearly over":
            now = NOW + timedelta(days=370)
        case "a key that is gone":
            first.key.unlink()
        case "a broken file":
            first.certificate.write_text("no certificate")
    second = own_certificate(tmp_path, addresses, now=now)
    assert second.fingerprint != first.fingerprint
    assert {str(ipaddress.ip_address(address)) for address in addresses} <= names(second)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(second.certificate, second.key)


def test_the_users_own_is_taken_as_it_is_and_what_is_none_is_told(tmp_path: Path) -> None:
    own = own_certificate(tmp_path, ADDRESSES)
    given = given_certificate(own.certificate, own.key)
    assert (given.fingerprint, given.own) == (own.fingerprint, False)
    with pytest.raises(GenlockError, match="cannot read the certificate"):
        given_certificate(tmp_path / "nothing.pem", own.key)
    with pytest.raises(GenlockError, match="holds no certificate"):
        given_certificate(own.key, own.key)
