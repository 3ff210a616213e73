"""Which gateway a command asks, and with whose secrets: by what was given, the environment, and what runs here."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_cli.exit_status import Unreachable
from genlock_cli.state_dir import Running, StateDir
from genlock_cli.target import Target, gateway_url, parse_session, state_meant
from genlock_cli.ups import Ups
from genlock_core.errors import BadInput
from genlock_core.tokens import Keyring, Role, generate_secrets

DEMO = parse_session("demo")


class Machine:
    """One user of a machine: the state directories by name, and what runs with them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {"XDG_RUNTIME_DIR": str(path / "run"), "XDG_STATE_HOME": str(path / "home")}

    def state(self, name: str) -> StateDir:
        return StateDir(self.path / name) if name != "usual" else StateDir(self.path / "home" / "genlock")

    @contextmanager
    def up(self, **gateways: str) -> Iterator[None]:
        """For each name of a state directory, a `genlock up` that serves at this address."""
        with ExitStack() as stack:
            for began_at, (name, url) in enumerate(gateways.items()):
                state = self.state(name)
                state.keyring()
                stack.enter_context(state.lock())
                stack.enter_context(Ups.of_this_user(self.environment).entered(state))
                state.announce(Running(os.getpid(), (url,), "redis://x", began_at=float(began_at)))
            yield

    def find(
        self,
        *,
        gateway: str | None = None,
        token: str | None = None,
        state: str | None = None,
        needs_running: bool = True,
        **environment: str,
    ) -> Target:
        return Target.find(
            gateway=gateway,
            token=token,
            state_dir=None if state is None else self.state(state).path,
            needs_running=needs_running,
            environment=self.environment | environment,
        )

    def signs(self, target: Target) -> str:
        """The name of the directory whose secrets the target has; "" for none."""
        names = {path.parent.name: path for path in self.path.rglob("secrets")}
        found = [name for name, path in names.items() if target.secrets == Keyring.from_file(path)]
        return found[0].replace("genlock", "usual") if found else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_runs_and_nothing_is_named(machine: Machine) -> None:
    target = machine.find()
    assert (target.gateway, target.secrets) == ("http://127.0.0.1:8080", None)


def test_the_one_that_runs_is_found_whatever_its_directory(machine: Machine) -> None:
    with machine.up(x="http://127.0.0.1:8160"):
        target = machine.find()
        assert (target.gateway, machine.signs(target), target.state) == (
            "http://127.0.0.1:8160",
            "x",
            machine.state("x"),
        )


def test_of_two_the_one_with_the_usual_directory_is_meant(machine: Machine) -> None:
    with machine.up(x="http://127.0.0.1:8160", usual="http://127.0.0.1:8080"):
        target = machine.find()
        assert (target.gateway, machine.signs(target)) == ("http://127.0.0.1:8080", "usual")


def test_of_two_others_one_has_to_be_named(machine: Machine) -> None:
    with machine.up(x="http://127.0.0.1:8160", y="http://127.0.0.1:8170"):
        with pytest.raises(BadInput, match=r"2 `genlock up` run here.*--state-dir .*/x, --state-dir .*/y"):
            machine.find()
        assert machine.find(state="y").gateway == "http://127.0.0.1:8170"
        named = machine.find(GENLOCK_STATE_DIR=str(machine.state("x").path))
        assert (named.gateway, machine.signs(named)) == ("http://127.0.0.1:8160", "x")


@pytest.mark.parametrize("address", ["http://127.0.0.1:8160", "http://localhost:8160/", "http://[::1]:8160"])
def test_the_gateway_that_is_asked_decides_whose_secrets_are_used(machine: Machine, address: str) -> None:
    secrets = generate_secrets()
    with machine.up(usual="http://127.0.0.1:8080", x="http://127.0.0.1:8160"):
        for target in (
            machine.find(gateway=address),
            machine.find(GENLOCK_GATEWAY=address),
            machine.find(gateway=address, GENLOCK_SECRETS=secrets),
            machine.find(gateway=address, GENLOCK_STATE_DIR=str(machine.state("usual").path)),
        ):
            assert machine.signs(target) == "x"
            assert target.token_for(DEMO, Role.VIEW) == machine.state("x").keyring().token(DEMO, Role.VIEW)
        assert machine.signs(machine.find(gateway=address, state="usual")) == "usual", "a directory that was named"


def test_secrets_of_the_environment_are_a_clusters(machine: Machine) -> None:
    machine.state("usual").keyring()
    usual = machine.environment
    file = machine.path / "cluster"
    file.write_text(generate_secrets())
    for environment, keyring in (
        ({"GENLOCK_SECRETS_FILE": str(file)}, Keyring.from_file(file)),
        ({"GENLOCK_SECRETS": "k1:" + "s" * 32}, Keyring.parse("k1:" + "s" * 32)),
    ):
        machine.environment = usual | environment
        found = machine.find()
        assert found.token_for(DEMO, Role.VIEW) == keyring.token(DEMO, Role.VIEW)
        assert found.admin_token() == keyring.token("*", Role.ADMIN)


def test_a_token_for_a_cluster_is_made_while_something_runs_here(machine: Machine) -> None:
    with machine.up(usual="http://127.0.0.1:8080"):
        made = machine.find(needs_running=False, GENLOCK_SECRETS="k1:" + "s" * 32).keyring()
        assert made == Keyring.parse("k1:" + "s" * 32)
        assert machine.signs(machine.find(needs_running=False)) == "usual"


def test_a_gateway_of_somebody_else_gets_no_token_that_was_made_here(machine: Machine) -> None:
    machine.state("usual").keyring()
    with machine.up(x="http://127.0.0.1:8160"):
        target = machine.find(gateway="https://live.example.org")
        assert (target.secrets, target.token_for(DEMO, Role.VIEW), target.admin_token()) == (None, None, None)
        with pytest.raises(BadInput, match="GENLOCK_SECRETS"):
            target.keyring()


def test_a_gateway_of_this_machine_that_nobody_announced_gets_the_usual_one(machine: Machine) -> None:
    machine.state("usual").keyring()
    assert machine.signs(machine.find(gateway="http://127.0.0.1:9000")) == "usual"


def test_a_named_directory_that_nothing_runs_with_is_told(machine: Machine) -> None:
    with pytest.raises(Unreachable, match=r"no `genlock up` runs with .*/x; start it with `genlock up --state-dir"):
        machine.find(state="x")
    made = machine.find(state="x", needs_running=False).keyring()
    assert made == machine.state("x").keyring()


def test_logs_are_those_of_what_was_named_or_runs_or_ran_last(machine: Machine) -> None:
    assert state_meant(None, machine.environment) == machine.state("usual")
    with machine.up(x="http://127.0.0.1:8160"):
        assert state_meant(None, machine.environment) == machine.state("x")
        assert state_meant(machine.state("y").path, machine.environment) == machine.state("y")


def test_a_given_token_is_used_and_an_empty_one_is_none_at_all(machine: Machine) -> None:
    machine.state("usual").keyring()
    assert machine.find(token=" abc\n").token_for(DEMO, Role.VIEW) == "abc"
    assert machine.find(GENLOCK_TOKEN="abc").admin_token() == "abc"
    assert machine.find(token="").token_for(DEMO, Role.VIEW) is None
    for whole in ("a b", "a\nb", "tök", "a\x00"):
        with pytest.raises(BadInput, match="a token has only"):
            machine.find(token=whole)


@pytest.mark.parametrize("text", ["", "Demo", "a/b/c", "-x", "x" * 64, "a\x00", "\udcff"])
def test_a_wrong_session_name_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadInput, match="name of a session"):
        parse_session(text)


@pytest.mark.parametrize(
    ("text", "namespace", "key"),
    [("a", None, "default/a"), ("a", "n", "n/a"), ("n/a", "n", "n/a"), ("n/a", None, "n/a")],
)
def test_a_namespace_is_that_of_a_bare_name(text: str, namespace: str | None, key: str) -> None:
    assert str(parse_session(text, namespace)) == key


@pytest.mark.parametrize(("text", "namespace"), [("m/a", "n"), ("a", "N"), ("a", ""), ("a", "x/y")])
def test_a_namespace_that_does_not_fit_is_refused(text: str, namespace: str) -> None:
    with pytest.raises(BadInput, match="namespace"):
        parse_session(text, namespace)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:8080",
        "ftp://x",
        "http://",
        "http://x:99999",
        "http://x:0",
        "http://[::1",
        "http://x?y",
        "http://x#y",
        "http://a b",
        "http://a\x1b",
        "http://ü",
    ],
)
def test_what_is_no_address_of_a_gateway_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadInput, match="not the address of a gateway"):
        gateway_url(text)


@given(st.text())
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    with suppress(BadInput):
        assert gateway_url(text).startswith(("http://", "https://"))


def test_the_environment_is_read_by_the_names_that_are_documented() -> None:
    contracts = Path(__file__).parents[2].joinpath("docs/contracts.md").read_text()
    names: Mapping[str, None] = dict.fromkeys(("GENLOCK_GATEWAY", "GENLOCK_TOKEN", "GENLOCK_STATE_DIR"))
    assert all(name in contracts for name in names)
