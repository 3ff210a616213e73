from pathlib import Path

import pytest

from genlock_cli.state_dir import Running, StateDir
from genlock_cli.target import Target, parse_session
from genlock_core.errors import GenlockError
from genlock_core.tokens import Keyring, Role, generate_secrets


def find(tmp_path: Path, *, gateway: str | None = None, environment: dict[str, str] | None = None) -> Target:
    return Target.find(gateway=gateway, token=None, state_dir=tmp_path, environment=environment or {})


def test_the_gateway_is_the_given_one_then_the_running_one_then_the_default(tmp_path: Path) -> None:
    assert find(tmp_path).gateway == "http://127.0.0.1:8080"
    StateDir(tmp_path).announce(Running(pid=1, gateways=("http://127.0.0.1:9000",), redis="redis://x"))
    assert find(tmp_path).gateway == "http://127.0.0.1:9000"
    assert find(tmp_path, environment={"GENLOCK_GATEWAY": "http://e"}).gateway == "http://e"
    assert find(tmp_path, gateway="http://g/").gateway == "http://g"


def test_a_token_is_made_where_the_secret_is_and_nowhere_else(tmp_path: Path) -> None:
    key = parse_session("demo")
    assert find(tmp_path).token_for(key, Role.PUBLISH) is None
    keyring = StateDir(tmp_path).keyring()
    assert find(tmp_path).token_for(key, Role.PUBLISH) == keyring.token(key, Role.PUBLISH)


def test_secrets_of_the_environment_are_a_clusters_and_come_before_this_machines(tmp_path: Path) -> None:
    key = parse_session("demo")
    StateDir(tmp_path).keyring()
    file = tmp_path / "cluster"
    file.write_text(generate_secrets())
    for environment, keyring in (
        ({"GENLOCK_SECRETS_FILE": str(file)}, Keyring.from_file(file)),
        ({"GENLOCK_SECRETS": "k1:" + "s" * 32}, Keyring.parse("k1:" + "s" * 32)),
    ):
        found = Target.find(gateway=None, token=None, environment={"GENLOCK_STATE_DIR": str(tmp_path), **environment})
        assert found.token_for(key, Role.VIEW) == keyring.token(key, Role.VIEW)
        assert found.admin_token() == keyring.token("*", Role.ADMIN)
        here = find(tmp_path, environment=environment)
        assert here.admin_token() == StateDir(tmp_path).keyring().token("*", Role.ADMIN), "a directory that was named"


@pytest.mark.parametrize("text", ["", "Demo", "a/b/c", "-x", "x" * 64])
def test_a_wrong_session_name_is_refused_in_words(text: str) -> None:
    with pytest.raises(GenlockError, match="name of a session"):
        parse_session(text)
