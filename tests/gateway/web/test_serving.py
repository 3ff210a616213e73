"""HTTPS beside HTTP: one application behind both, and files that hold no certificate are told before anything runs."""

import asyncio
import re
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from genlock_cli.up.certificate import own_certificate
from genlock_core.process.address import Address
from genlock_core.tokens import Keyring, generate_secrets
from genlock_gateway import main
from genlock_gateway.settings import TlsSettings, parse_settings
from genlock_gateway.web.serving import certificate_names, tls_context


async def test_one_gateway_answers_over_both_under_a_certificate_that_fits(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = own_certificate(tmp_path, ["192.0.2.7"])
    settings = parse_settings(
        [
            *("--name", "g0", "--redis", redis_url, "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0"),
            *("--https", "127.0.0.1:0", "--https", "[::1]:0"),
            *("--https-certificate", str(files.certificate), "--https-key", str(files.key)),
        ],
        {},
    )
    serving = asyncio.create_task(main.serve(settings, Keyring.parse(generate_secrets())))
    said = ""
    async with asyncio.timeout(20):
        while not said.endswith("\n"):
            said += capsys.readouterr().out
            await asyncio.sleep(0.02)
    plain, *secure = re.findall(r"(?:http|https)=(\S+)", said)
    assert len(secure) == 2

    # Whoever trusts the certificate finds it right for each address: nothing is ignored here.
    trusting = ssl.create_default_context(cafile=str(files.certificate))
    async with httpx.AsyncClient(verify=trusting, trust_env=False) as http:
        for url in (plain, *(f"https://{address}" for address in secure)):
            assert (await http.get(f"{url}/readyz")).text == "ready\n"
        own = {"Origin": f"https://{secure[0]}"}
        assert (await http.get(f"https://{secure[0]}/api/v1/sessions", headers=own)).json() == []
        with pytest.raises(httpx.HTTPError):
            await http.get(f"http://{secure[0]}/readyz")

        # Who has the key of a certificate is called what it says.
        for name in certificate_names(files.certificate):
            assert (await http.get(f"{plain}/readyz", headers={"Host": name})).status_code == 200
        assert (await http.get(f"{plain}/readyz", headers={"Host": "evil.example"})).status_code == 421

    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


def test_files_that_hold_no_certificate_are_told(tmp_path: Path) -> None:
    assert tls_context(TlsSettings()) is None
    assert certificate_names(None) == ()
    files = own_certificate(tmp_path, [])
    another = own_certificate(tmp_path / "another", [])
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    for nothing in (tmp_path / "nothing", files.key):
        with pytest.raises(ValueError, match=re.escape(str(nothing))):
            certificate_names(nothing)
    for certificate, key in (
        (tmp_path / "nothing", files.key),
        (files.key, files.key),
        (files.certificate, another.key),
        (files.certificate, locked),
    ):
        tls = TlsSettings(listen=(Address("127.0.0.1", 0),), certificate=certificate, key=key)
        with pytest.raises(ValueError, match=re.escape(f"cannot serve HTTPS with {certificate} and {key}: ")):
            tls_context(tls)
