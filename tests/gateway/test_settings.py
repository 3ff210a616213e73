"""Options and environment of `genlock-gateway`."""

from pathlib import Path

import pytest

from genlock_core.process.address import Address
from genlock_core.process.options import options_of
from genlock_gateway.ice_servers import IceServer
from genlock_gateway.settings import PROGRAM, GatewaySettings, parse_settings
from tests.option_mistakes import assert_is_one_line


def test_an_option_wins_over_its_variable_and_that_over_the_default() -> None:
    environment = {"GENLOCK_GATEWAY_HTTP": "127.0.0.1:1", "GENLOCK_GATEWAY_REDIS": "redis://other:6379"}
    settings = parse_settings(["--http", "127.0.0.1:2"], environment)
    assert (settings.http, settings.redis_url) == (Address("127.0.0.1", 2), "redis://other:6379")
    assert settings.limits.peers == 4_000


def test_what_may_be_given_several_times_comes_from_either() -> None:
    environment = {"GENLOCK_GATEWAY_ADVERTISE_IP": "192.0.2.1 2001:db8::1"}
    assert parse_settings([], environment).advertise_ips == ("192.0.2.1", "2001:db8::1")
    assert parse_settings(["--profile", "a", "--profile", "b"], {}).profiles == (Path("a"), Path("b"))
    given = [
        "--advertise-ip",
        "192.0.2.7",
        "--ice-server",
        "stun:s:3478",
        "--ice-server",
        "turn:t:1,username=u,credential=c",
    ]
    settings = parse_settings(given, environment)
    assert settings.advertise_ips == ("192.0.2.7",)
    assert settings.ice_servers == (IceServer("stun:s:3478"), IceServer("turn:t:1", "u", "c"))


def test_media_has_one_port_number_and_is_told_of_either_by_its_addresses_or_by_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(parse_settings(["--udp", "127.0.0.1:1", "--udp", "[::1]:1"], {}).udp) == 2
    for mistake, words in (
        (["--udp", "127.0.0.1:1", "--udp", "[::1]:2"], "one port number"),
        (["--udp", "127.0.0.1:1", "--udp", "[::1]:1", "--advertise-ip", "192.0.2.1"], "not for several"),
    ):
        with pytest.raises(SystemExit):
            parse_settings(mistake, {})
        assert words in capsys.readouterr().err


def test_https_needs_an_address_a_certificate_and_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    whole = ["--https", "192.0.2.1:8443", "--https-certificate", "c.pem", "--https-key", "k.pem"]
    tls = parse_settings(whole, {}).tls
    assert (tls.listen, tls.key) == ((Address("192.0.2.1", 8443),), Path("k.pem"))
    for start in (0, 2, 4):
        for part in (whole[start : start + 2], whole[:start] + whole[start + 2 :]):
            with pytest.raises(SystemExit):
                parse_settings(part, {})
            assert "go together" in capsys.readouterr().err


def test_a_turn_server_has_credentials_or_a_secret_that_makes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--ice-server", "turn:t:1"], {})
    assert "turn:t:1 needs username and credential, or the secret" in capsys.readouterr().err
    (tmp_path / "secret").write_text("hunter2\n")
    settings = parse_settings(["--ice-server", "turn:t:1", "--turn-secret-file", str(tmp_path / "secret")], {})
    assert settings.turn_secret is not None
    assert settings.turn_secret.value == b"hunter2"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("http", "8080", "must be an address"),
        ("udp", "127.0.0.1:99999", "must be an address"),
        ("advertise-ip", "localhost", "must be an IP address"),
        ("ice-server", "http://x", "must be stun:HOST:PORT"),
        ("ice-server", "turn:x:1,username=u", "must have username"),
        ("turn-secret-file", "/nowhere/at/all", "No such file"),
        ("turn-secret-file", "/dev/null", "this one is empty"),
        ("turn-lifetime", "1s", "1m"),
        ("ice-server", 'turn:x:1,username=a"b,credential=c', "must have a printable username"),
        ("name", "Not-A-Name", "must be small letters"),
        ("max-peers", "many", "must be a whole number from 1"),
        ("max-peers", "-5", "must be a whole number from 1"),
        ("max-peers", "0", "must be a whole number from 1"),
        ("max-viewers-per-session", "0", "must be a whole number from 1"),
        ("request-rate", "fast", "must be a rate"),
        ("request-rate", "0/s", "must be a rate of at least"),
        ("request-burst", "0", "must be a number from 1"),
        ("drain-timeout", "-1s", "must be a duration"),
        ("redis-wait", "60 s", "must be a duration"),
        ("redis", "http://user:hunter2@x", "must be the address of a Redis"),
        ("advertise-http", "gateway:8080", "must be a URL"),
        ("sessions", "kubernetes", "must be one of api, cluster"),
        ("jwt-public-key", "/nowhere/at/all", "No such file"),
        ("log-level", "verbose", "must be one of debug, info, warning, error"),
        ("log-format", "xml", "must be one of text, json"),
    ],
)
def test_a_mistake_is_one_line_from_either_source(
    name: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_is_one_line(PROGRAM, parse_settings, option=(name, text), message=message, capsys=capsys)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--redis-wait-s", "60"], ["--redis-wait", "1m"]),
        (["--drain-timeout-s", "0.2"], ["--drain-timeout", "200ms"]),
        (["--requests-per-s", "0.5"], ["--request-rate", "0.5/s"]),
    ],
)
def test_old_names_are_read_for_one_release(old: list[str], new: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    name = {"GENLOCK_GATEWAY_NAME": "g0"}
    expected = parse_settings(new, name)
    assert capsys.readouterr().err == ""
    assert parse_settings(old, name) == expected
    assert f"write {' '.join(new)}" in capsys.readouterr().err
    variable = old[0].removeprefix("--").replace("-", "_").upper()
    assert parse_settings([], name | {f"GENLOCK_GATEWAY_{variable}": old[1]}) == expected


@pytest.mark.parametrize("level", ["INFO", "info"])
def test_a_log_level_is_written_in_any_case(level: str) -> None:
    assert parse_settings([], {"GENLOCK_GATEWAY_LOG_LEVEL": level}).log.level == "info"


def test_help_names_every_option_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"], {})
    told = capsys.readouterr().out
    for one in options_of(GatewaySettings):
        assert one.flag in told
        assert f"[{PROGRAM.variable(one.name)}]" in " ".join(told.split())


def test_a_jwt_key_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("PEM")
    settings = parse_settings(["--jwt-public-key", str(path), "--jwt-issuer", "i"], {})
    assert (settings.jwt.public_key, settings.jwt.issuer, settings.jwt.audience) == ("PEM", "i", None)
