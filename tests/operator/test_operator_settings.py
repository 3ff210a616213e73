"""The operator's options: from the command line, from the environment, and which of them make no sense."""

from pathlib import Path

import pytest

from genlock_operator.plan.policy import SecretKey
from genlock_operator.settings import Address, OperatorSettings, parse_settings


def parsed(*arguments: str, **environment: str) -> OperatorSettings:
    return parse_settings(arguments, {"POD_NAMESPACE": "live", "POD_NAME": "operator-1", **environment})


def test_without_options_it_watches_its_own_namespace() -> None:
    settings = parsed()
    assert (settings.scope.namespaces, settings.scope.lease_namespace) == (("live",), "live")
    assert (settings.identity, settings.kubeconfig) == ("operator-1", None)


def test_outside_of_a_pod_two_processes_have_two_names() -> None:
    first, second = (parse_settings([], {}).identity for _ in range(2))
    assert first != second


def test_an_option_wins_over_its_variable_and_the_variable_over_the_default() -> None:
    variable = {"GENLOCK_OPERATOR_CONCURRENCY": "7", "GENLOCK_OPERATOR_WATCH_NODES": "true"}
    assert parsed(**variable).concurrency == 7
    assert parsed(**variable).scope.nodes
    assert parsed("--concurrency", "3", **variable).concurrency == 3


@pytest.mark.parametrize(
    ("namespaces", "lease"), [("a,live", "live"), ("a, b", "a")], ids=["its own among them", "its own not"]
)
def test_the_lease_lies_where_it_is_watched(namespaces: str, lease: str) -> None:
    assert parsed("--namespaces", namespaces).scope.lease_namespace == lease


def test_all_namespaces_cover_every_session_and_some_only_theirs() -> None:
    everywhere, some = parsed("--all-namespaces").scope, parsed("--namespaces", "a,b").scope
    assert [scope.covers("c/demo") for scope in (everywhere, some)] == [True, False]
    assert some.covers("b/demo")


def test_workers_are_given_the_operators_redis_or_their_own_secret() -> None:
    assert parsed("--redis", "redis://redis:6379").workers.redis_url == "redis://redis:6379"
    given = parsed("--redis", "redis://:word@redis:6379", "--worker-redis-secret", "redis/url").workers
    assert (given.redis_url, given.redis_secret) == ("", SecretKey("redis", "url"))


def test_figures_and_files_are_read_as_what_they_are() -> None:
    settings = parsed("--figures-every-s", "5", "--kubeconfig", "x/config", "--public-url", "https://live.example.org/")
    assert (settings.policy.figures_every_s, settings.kubeconfig) == (5.0, Path("x/config"))
    assert settings.public_url == "https://live.example.org"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--namespaces", "a", "--all-namespaces"], "not both"),
        (["--namespaces", "Live"], "not the name of a namespace"),
        (["--namespaces", "a", "--lease-namespace", "b"], "must be one of those that are watched"),
        (["--redis", "redis://:word@redis:6379"], "give workers theirs"),
        (["--worker-redis-secret", "redis"], "write NAME/KEY"),
        (["--worker-secret", "/key"], "write NAME/KEY"),
        (["--concurrency", "0"], "at least 1"),
        (["--health", "localhost"], "is not an address"),
        (["--log-format", "xml"], "invalid choice"),
    ],
)
def test_a_mistake_is_said_and_ends_it(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(*arguments)
    assert said in capsys.readouterr().err


def test_a_password_is_not_repeated_in_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--redis", "redis://:hunter2@redis:6379")
    assert "hunter2" not in capsys.readouterr().err


def test_a_switch_that_is_neither_on_nor_off_is_a_mistake() -> None:
    with pytest.raises(SystemExit, match="write true or false"):
        parsed(GENLOCK_OPERATOR_WATCH_NODES="maybe")


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:8081", Address("127.0.0.1", 8_081)), ("[::]:0", Address("::", 0)), (":9", Address("0.0.0.0", 9))],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:70000"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        Address.parse(text)
