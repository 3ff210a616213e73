import json
import stat
from dataclasses import replace
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from genlock_cli.state_dir import StateDir
from genlock_cli.up import lan as module
from genlock_cli.up.lan import LINK_LASTS_S, Lan, find_lan, keep_links, links, qr_code, with_tokens
from genlock_cli.up.local import LocalGenlock
from genlock_cli.up.plan import UpOptions
from genlock_cli.up.sessions import default_manifest, read_sessions
from genlock_cli.up.view import UpView
from genlock_core.clock import ManualClock
from genlock_core.errors import AccessDenied, GenlockError
from genlock_core.spec.session import AccessMode
from genlock_core.tokens import Keyring, Role, generate_secrets

OWN = ("192.0.2.7", "2001:db8::7", "127.0.0.1")
NOW_S = 1_800_000_000


@pytest.fixture
def lan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lan:
    monkeypatch.setattr(module, "own_addresses", lambda: OWN)
    return find_lan(tmp_path / "lan", port=8443, gateways=1, certificate=None, key=None)


def test_it_is_served_on_each_address_of_the_network_and_told_by_the_best(lan: Lan) -> None:
    assert lan.listens(0) == ("192.0.2.7:8443", "[2001:db8::7]:8443")
    assert lan.listens(1) == ("192.0.2.7:8444", "[2001:db8::7]:8444")
    assert lan.url == "https://192.0.2.7:8443"


def test_without_a_network_there_is_nobody_to_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "own_addresses", lambda: ("127.0.0.1",))
    with pytest.raises(GenlockError, match="no address on a network"):
        find_lan(tmp_path, port=8443, gateways=1, certificate=None, key=None)


def test_half_a_certificate_is_told(tmp_path: Path) -> None:
    for half in ({"certificate": tmp_path, "key": None}, {"certificate": None, "key": tmp_path}):
        with pytest.raises(GenlockError, match="go together"):
            find_lan(tmp_path, port=8443, gateways=1, **half)


def test_every_session_needs_tokens_and_keeps_the_rest() -> None:
    (demo,) = read_sessions(default_manifest())
    assert demo.access.view is AccessMode.PUBLIC
    (closed,) = with_tokens([demo])
    assert (closed.access.publish, closed.access.view) == (AccessMode.TOKEN, AccessMode.TOKEN)
    assert closed.model_copy(update={"access": demo.access}) == demo


def test_a_link_lets_its_holder_publish_one_session_for_a_week() -> None:
    ring, (demo,) = Keyring.parse(generate_secrets()), read_sessions(default_manifest())
    (link,) = links("https://192.0.2.7:8443", [demo], ring, now_s=NOW_S)
    page, _, token = link.partition("#token=")
    assert page == "https://192.0.2.7:8443/studio/default/demo"
    assert ring.verify(token, demo.key, Role.PUBLISH, now_s=NOW_S).expires_s == NOW_S + LINK_LASTS_S
    for key, now_s in (("default/other", NOW_S), (demo.key, NOW_S + LINK_LASTS_S)):
        with pytest.raises(AccessDenied):
            ring.verify(token, key, Role.VIEW, now_s=now_s)


def scanned(code: str) -> str:
    """What a phone reads off a terminal: light modules are what is drawn."""
    halves = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0)}
    rows = [[halves[character][half] for character in line] for line in code.splitlines() for half in (0, 1)]
    picture = np.pad(np.array(rows, np.uint8).repeat(8, axis=0).repeat(8, axis=1), 40, constant_values=255)
    # OpenCV's other detector does not find one code of fifty.
    text, *_ = cv2.QRCodeDetectorAruco().detectAndDecode(picture)
    return text


@pytest.mark.parametrize("address", ["192.0.2.7:8443", "[2001:db8:1:2:3:4:5:6]:8443"])
def test_the_code_holds_the_link(address: str) -> None:
    ring, (demo,) = Keyring.parse(generate_secrets()), read_sessions(default_manifest())
    (link,) = links(f"https://{address}", [demo], ring, now_s=NOW_S)
    code = qr_code(link)
    assert len({len(line) for line in code.splitlines()}) == 1
    assert max(map(len, code.splitlines())) <= 80, "as wide as a terminal"
    assert scanned(code) == link


def test_links_in_a_file_are_their_users_alone_also_where_a_file_was_before(tmp_path: Path) -> None:
    path = tmp_path / "links"
    path.write_text("old")
    path.chmod(0o644)
    keep_links(path, ["https://a/#token=x", "https://b/#token=y"])
    assert path.read_text() == "https://a/#token=x\nhttps://b/#token=y\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.fixture
def genlock(lan: Lan, tmp_path: Path) -> LocalGenlock:
    """One that was not started: it knows its links, and nobody is served."""
    options = UpOptions(
        workers=1,
        gateways=1,
        engine="mock",
        host="127.0.0.1",
        port=8080,
        media_hosts=("127.0.0.1",),
        gpu_product="NVIDIA-H100",
        gpus=4,
        media_root=tmp_path,
        drain_timeout_s=1.0,
        lan=lan,
    )
    return LocalGenlock(
        options,
        read_sessions(default_manifest()),
        state=StateDir(tmp_path / "state"),
        redis_url=None,
        clock=ManualClock(wall_ms=NOW_S * 1_000),
        progress=lambda _words: None,
        on_change=lambda _child: None,
    )


def said(genlock: LocalGenlock, *, terminal: bool) -> str:
    view, out = UpView(as_json=False), StringIO()
    view.console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    view.up(genlock)
    view.close()
    return out.getvalue()


def test_a_person_at_a_terminal_sees_the_code_and_the_links(genlock: LocalGenlock) -> None:
    text = said(genlock, terminal=True)
    link, own = genlock.lan_links[0], genlock.own_links[0]
    assert link.startswith("https://192.0.2.7:8443/studio/default/demo#token=gl2.")
    assert own.startswith("http://127.0.0.1:8080/studio/default/demo#token=gl2.")
    assert qr_code(link).splitlines()[8] in text
    assert link in text
    assert own in text
    assert genlock.options.lan is not None
    assert genlock.options.lan.files.fingerprint in text


def test_a_fingerprint_is_shown_letter_by_letter(genlock: LocalGenlock) -> None:
    lan = genlock.options.lan
    assert lan is not None
    files = replace(lan.files, fingerprint="AB:A1:AB:00")
    genlock.options = replace(genlock.options, lan=replace(lan, files=files))
    for terminal in (True, False):
        assert "is AB:A1:AB:00" in said(genlock, terminal=terminal)


def test_output_that_is_kept_has_no_token_in_it(genlock: LocalGenlock, capsys: pytest.CaptureFixture[str]) -> None:
    piped = said(genlock, terminal=False)
    assert "token" not in piped
    assert str(genlock.links_file) in piped
    UpView(as_json=True).up(genlock)
    out, err = capsys.readouterr()
    assert json.loads(out)["lan"]["links"] == str(genlock.links_file)
    assert "gl2." not in out + err
