"""The operator's options: from the command line, from the environment, and which of them make no sense."""

from pathlib import Path

import pytest

from genlock_core.process.options import options_of
from genlock_operator.plan.policy import SecretKey
from genlock_operator.settings import PROGRAM, OperatorSettings, parse_settings
from tests.option_mistakes import assert_is_one_line


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
    variable = {"GENLOCK_OPERATOR_LEASE_NAME": "env", "GENLOCK_OPERATOR_WATCH_NODES": "true"}
    assert parsed(**variable).scope.lease_name == "env"
    assert parsed(**variable).scope.nodes
    assert parsed("--lease-name", "line", **variable).scope.lease_name == "line"
    assert not parsed("--watch-nodes=no", **variable).scope.nodes
    assert parsed().scope.lease_name == "genlock-operator"


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


def test_files_and_urls_are_read_as_what_they_are() -> None:
    settings = parsed("--kubeconfig", "x/config", "--public-url", "https://live.example.org/")
    assert settings.kubeconfig == Path("x/config")
    assert settings.public_url == "https://live.example.org"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("namespaces", "Live", "must be the name of a namespace"),
        ("lease-namespace", "a/b", "must be the name of a namespace"),
        ("redis", "http://user:hunter2@x", "must be the address of a Redis"),
        ("worker-redis-secret", "redis", "must be NAME/KEY"),
        ("worker-secret", "/key", "must be NAME/KEY"),
        ("worker-image-pull-policy", "always", "must be one of Always, IfNotPresent, Never"),
        ("health", "localhost", "must be an address"),
        ("public-url", "live.example.org", "must be a URL"),
        ("watch-nodes", "maybe", "must be yes or no"),
        ("all-namespaces", "2", "must be yes or no"),
        ("gpu-budget", "NVIDIA-H100", "must be PRODUCT=GPUS"),
        ("gpu-budget", "=4", "must be PRODUCT=GPUS"),
        ("scaler", "9090", "must be an address"),
        ("gpu-budget", "NVIDIA-H100=-1", "must be PRODUCT=GPUS"),
        ("gpu-budget", "NVIDIA-H100=8,many", "must be PRODUCT=GPUS"),
        ("log-format", "xml", "must be one of text, json"),
        ("log-level", "verbose", "must be one of debug, info, warning, error"),
    ],
)
def test_a_mistake_is_one_line_from_either_source(
    name: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_is_one_line(PROGRAM, parse_settings, option=(name, text), message=message, capsys=capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--namespaces", "a", "--all-namespaces"], "give one of them, not both"),
        (["--namespaces", "a", "--lease-namespace", "b"], "must be one of those that are watched, a"),
        (["--redis", "redis://:word@redis:6379"], "by --worker-redis-secret"),
    ],
)
def test_values_that_do_not_go_together_are_one_line_too(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert f"{arguments[0]} (GENLOCK_OPERATOR_" in line or "--lease-namespace (" in line


def test_a_password_is_not_repeated_in_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--redis", "redis://:hunter2@redis:6379")
    assert "hunter2" not in capsys.readouterr().err


def test_a_variable_that_is_no_option_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    parsed(GENLOCK_OPERATOR_WATCH_NODE="yes")
    assert "is GENLOCK_OPERATOR_WATCH_NODES meant?" in capsys.readouterr().err


def test_help_names_every_option_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    told = " ".join(capsys.readouterr().out.split())
    for one in options_of(OperatorSettings):
        assert one.flag in told
        assert f"[{PROGRAM.variable(one.name)}]" in told


def test_a_gpu_budget_names_products_and_how_many_gpus_of_them() -> None:
    assert parsed().gpu_budget == ()
    budget = parsed("--gpu-budget", "NVIDIA-H100=32,NVIDIA-A100=8").gpu_budget
    assert budget == (("NVIDIA-H100", 32), ("NVIDIA-A100", 8))
    assert parsed(GENLOCK_OPERATOR_GPU_BUDGET="NVIDIA-H100=0").gpu_budget == (("NVIDIA-H100", 0),)


def test_a_product_has_one_budget(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--gpu-budget", "NVIDIA-H100=1,NVIDIA-H100=2")
    assert "names a product twice" in capsys.readouterr().err
