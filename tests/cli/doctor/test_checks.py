"""What each fact of a machine means, as a table: one fact is changed, one finding changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genlock_cli.doctor.checks import Finding, Verdict, findings
from genlock_cli.doctor.facts import MachineFacts, Wanted

MOCK = Wanted(host="127.0.0.1", port=8080, redis_url=None, diffusion=False, weights=None, model="wan2.1-1.3b")
DIFFUSION = replace(MOCK, diffusion=True, weights=Path("models"))
NAMED_REDIS = replace(MOCK, redis_url="redis://x")

# A machine that lacks nothing, for either engine.
GOOD = MachineFacts(
    cores=8,
    missing_libraries=(),
    state_folder=Path("/state"),
    state_problem="",
    port_problem="",
    port_is_ours=False,
    redis_server=Path("/usr/bin/redis-server"),
    redis_problem="",
    addresses=("192.0.2.2",),
    silent_addresses=(),
    browser="/usr/bin/firefox",
    has_screen=True,
    gpus=("NVIDIA H100",),
    has_driver=True,
    torch="2.15.0",
    torch_sees_gpu=True,
    weights_problem="",
    behind_installation_s=0.0,
    is_synchronised=True,
)


@pytest.mark.parametrize("wanted", [MOCK, DIFFUSION, NAMED_REDIS])
def test_a_machine_that_has_everything_has_nothing_to_do(wanted: Wanted) -> None:
    found = findings(GOOD, wanted)
    assert {one.verdict for one in found} == {Verdict.OK}
    assert {one.todo for one in found} == {""}
    assert len({one.about for one in found}) == len(found)


CHANGES: list[tuple[dict[str, Any], Wanted, str, Verdict, str]] = [
    ({"missing_libraries": ("av", "cv2")}, MOCK, "libraries", Verdict.MISSING, "pip install"),
    ({"cores": 1}, MOCK, "cores", Verdict.NOTE, "--workers 1"),
    ({"state_problem": "/state cannot be written"}, MOCK, "state folder", Verdict.MISSING, "--state-dir"),
    (
        {"redis_server": None, "redis_problem": "no redis-server; type `apt-get install redis-server`"},
        MOCK,
        "Redis",
        Verdict.MISSING,
        "`apt-get install redis-server`",
    ),
    ({"redis_problem": "it does not answer"}, NAMED_REDIS, "Redis", Verdict.MISSING, "--redis"),
    ({"port_problem": "TCP port 8080 is taken; see ss"}, MOCK, "ports", Verdict.MISSING, "--port 0"),
    ({"port_problem": "this machine has no such address: x; name one"}, MOCK, "ports", Verdict.MISSING, "name one"),
    ({"addresses": ()}, MOCK, "candidates", Verdict.NOTE, "network"),
    ({"silent_addresses": ("192.0.2.2",)}, MOCK, "candidates", Verdict.NOTE, "--media-host"),
    ({"silent_addresses": ("127.0.0.1", "192.0.2.2")}, MOCK, "candidates", Verdict.MISSING, "loopback"),
    ({"behind_installation_s": 3_600.0}, MOCK, "clock", Verdict.NOTE, "set the clock"),
    ({"is_synchronised": False}, MOCK, "clock", Verdict.NOTE, "timedatectl"),
    ({"browser": None}, MOCK, "browser", Verdict.NOTE, "apt-get install"),
    ({"has_screen": False}, MOCK, "browser", Verdict.NOTE, "genlock open"),
    ({"gpus": ()}, DIFFUSION, "GPU", Verdict.NOTE, "--model tiny"),
    ({"torch": None, "torch_sees_gpu": None}, DIFFUSION, "engine", Verdict.MISSING, "genlock[diffusion]"),
    ({"torch_sees_gpu": False}, DIFFUSION, "engine", Verdict.MISSING, "torch"),
    ({}, replace(DIFFUSION, weights=None), "weights", Verdict.MISSING, "genlock models fetch wan2.1-1.3b"),
    (
        {"weights_problem": "model x: no VAE; `genlock models fetch x --into <weights folder>` gets them; see docs"},
        DIFFUSION,
        "weights",
        Verdict.MISSING,
        "genlock models fetch x --into <weights folder>",
    ),
]


@pytest.mark.parametrize(("change", "wanted", "about", "verdict", "todo"), CHANGES)
def test_one_thing_that_is_wrong_is_one_finding_that_says_what_to_type(
    change: dict[str, Any], wanted: Wanted, about: str, verdict: Verdict, todo: str
) -> None:
    found = findings(replace(GOOD, **change), wanted)
    (wrong,) = [one for one in found if one.verdict is not Verdict.OK]
    assert (wrong.about, wrong.verdict) == (about, verdict)
    assert todo in wrong.todo
    assert wrong.words


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"gpus": (), "has_driver": False, "torch": None, "torch_sees_gpu": None}, MOCK),
        ({"weights_problem": "there is none"}, MOCK),
        ({"port_problem": "is taken", "port_is_ours": True}, MOCK),
        ({"redis_server": None, "redis_problem": ""}, NAMED_REDIS),
        ({"is_synchronised": None}, MOCK),
        ({}, replace(DIFFUSION, model="tiny", weights=None)),
    ],
)
def test_what_is_not_needed_is_not_missed(change: dict[str, Any], wanted: Wanted) -> None:
    assert all(one.verdict is Verdict.OK for one in findings(replace(GOOD, **change), wanted))


def test_a_finding_that_is_missing_always_says_what_to_do() -> None:
    worst = replace(
        GOOD,
        missing_libraries=("av",),
        state_problem="no",
        redis_server=None,
        redis_problem="no; type x",
        port_problem="no",
        silent_addresses=("127.0.0.1",),
        torch=None,
    )
    missing: list[Finding] = [
        one for one in findings(worst, replace(DIFFUSION, weights=None)) if one.verdict is Verdict.MISSING
    ]
    assert [one.about for one in missing] == [
        "libraries",
        "state folder",
        "Redis",
        "ports",
        "candidates",
        "engine",
        "weights",
    ]
    assert all(one.todo for one in missing)
