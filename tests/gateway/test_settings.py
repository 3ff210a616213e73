"""Options and environment of `genlock-gateway`."""

from pathlib import Path

import pytest

from genlock_gateway.settings import Address, IceServer, parse_settings


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--http", "8080"], "is not an address"),
        (["--udp", "127.0.0.1:99999"], "is not an address"),
        (["--advertise-ip", "localhost"], "localhost"),
        (["--ice-server", "http://x"], "an ICE server is"),
        (["--ice-server", "turn:x:1"], "needs username"),
        (["--ice-server", 'turn:x:1,username=a"b,credential=c'], "printable"),
        (["--name", "Not A Name"], "small letters"),
        (["--max-peers", "many"], "invalid int"),
        (["--sessions", "kubernetes"], "invalid choice"),
        (["--jwt-public-key", "/nowhere/at/all"], "No such file"),
    ],
)
def test_a_mistake_is_named(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_settings(options, {})
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_help_names_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"], {})
    told = capsys.readouterr().out
    for name in ("NAME", "REDIS", "HTTP", "UDP", "ADVERTISE_IP", "ICE_SERVER", "JWT_PUBLIC_KEY", "DRAIN_TIMEOUT_S"):
        assert f"GENLOCK_GATEWAY_{name}" in told


def test_a_jwt_key_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("PEM")
    settings = parse_settings(["--jwt-public-key", str(path), "--jwt-issuer", "i"], {})
    assert settings.jwt is not None
    assert (settings.jwt.public_key, settings.jwt.issuer, settings.jwt.audience) == ("PEM", "i", None)
