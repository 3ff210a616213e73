"""What the facts of a machine mean for `genlock up`: pure, one line for each thing, and what to type."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from genlock_cli.doctor.facts import MachineFacts, Wanted

GOOD_CORES: Final = 2
LARGEST_CLOCK_ERROR_S: Final = 60.0


class Verdict(StrEnum):
    """How much of a problem it is."""

    OK = "ok"
    NOTE = "note"
    """It goes without it; something is worse or not possible."""
    MISSING = "missing"
    """`genlock up` does not run without it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `todo`: what to type, or to do; empty where nothing is to be done."""

    about: str
    verdict: Verdict
    words: str
    todo: str = ""


def findings(facts: MachineFacts, wanted: Wanted) -> list[Finding]:
    """Each thing once, in the order in which one would set a machine up."""
    return [
        _libraries(facts),
        _cores(facts),
        _state(facts),
        _redis(facts, wanted),
        _ports(facts, wanted),
        _candidates(facts),
        _clock(facts),
        _browser(facts),
        _gpu(facts, wanted),
        *_engine(facts, wanted),
    ]


def _libraries(facts: MachineFacts) -> Finding:
    if facts.missing_libraries:
        missing = ", ".join(facts.missing_libraries)
        return Finding(
            "libraries", Verdict.MISSING, f"{missing} cannot be imported", "pip install 'genlock[local]' (or: make up)"
        )
    return Finding("libraries", Verdict.OK, "all that the mock engine needs")


def _cores(facts: MachineFacts) -> Finding:
    words = f"{facts.cores} core{'s' if facts.cores != 1 else ''} for this process"
    if facts.cores < GOOD_CORES:
        return Finding("cores", Verdict.NOTE, f"{words}: frames will be late", "genlock up --workers 1")
    return Finding("cores", Verdict.OK, words)


def _state(facts: MachineFacts) -> Finding:
    if facts.state_problem:
        return Finding("state folder", Verdict.MISSING, facts.state_problem, "genlock up --state-dir FOLDER")
    return Finding("state folder", Verdict.OK, str(facts.state_folder))


def _redis(facts: MachineFacts, wanted: Wanted) -> Finding:
    if wanted.redis_url is not None:
        if facts.redis_problem:
            return Finding("Redis", Verdict.MISSING, facts.redis_problem, "start it, or leave --redis out")
        return Finding("Redis", Verdict.OK, "the one that was named answers")
    if facts.redis_server is None:
        words, _, todo = facts.redis_problem.partition("; type ")
        return Finding("Redis", Verdict.MISSING, words, todo)
    return Finding("Redis", Verdict.OK, str(facts.redis_server))


def _ports(facts: MachineFacts, wanted: Wanted) -> Finding:
    if facts.port_is_ours:
        return Finding("ports", Verdict.OK, f"a running `genlock up` serves on {wanted.port}")
    if facts.port_problem:
        words, _, todo = facts.port_problem.partition("; ")
        is_host = "no such address" in words
        return Finding("ports", Verdict.MISSING, words, todo if is_host else "genlock up --port 0 (takes free ones)")
    return Finding("ports", Verdict.OK, f"TCP and UDP {wanted.port} are free")


def _candidates(facts: MachineFacts) -> Finding:
    if "127.0.0.1" in facts.silent_addresses:
        return Finding(
            "candidates", Verdict.MISSING, "UDP does not pass on 127.0.0.1: media has no way", "allow UDP on loopback"
        )
    if facts.silent_addresses:
        silent = ", ".join(facts.silent_addresses)
        return Finding(
            "candidates",
            Verdict.NOTE,
            f"UDP does not pass on {silent}: a firewall? Browsers may connect slowly, or not at all",
            "allow UDP there, or name addresses that work: genlock up --media-host IP",
        )
    if not facts.addresses:
        return Finding(
            "candidates",
            Verdict.NOTE,
            "only 127.0.0.1: Firefox and GStreamer do not use it, other machines cannot",
            "connect this machine to a network",
        )
    return Finding("candidates", Verdict.OK, ", ".join((*facts.addresses, "127.0.0.1")))


def _clock(facts: MachineFacts) -> Finding:
    if facts.behind_installation_s > LARGEST_CLOCK_ERROR_S:
        return Finding(
            "clock", Verdict.NOTE, "it is behind the files of this installation: tokens expire wrongly", "set the clock"
        )
    if facts.is_synchronised is False:
        return Finding(
            "clock",
            Verdict.NOTE,
            "it follows no time server: with other machines tokens may expire too early or too late",
            "timedatectl set-ntp true",
        )
    return Finding("clock", Verdict.OK, "synchronised" if facts.is_synchronised else "as late as this installation")


def _browser(facts: MachineFacts) -> Finding:
    if facts.browser is None:
        return Finding(
            "browser",
            Verdict.NOTE,
            "none was found: the page can be opened from elsewhere only",
            "apt-get install chromium (or firefox-esr)",
        )
    if not facts.has_screen:
        return Finding("browser", Verdict.NOTE, f"{facts.browser}, and no screen for it", "genlock open --no-browser")
    return Finding("browser", Verdict.OK, facts.browser)


def _gpu(facts: MachineFacts, wanted: Wanted) -> Finding:
    if facts.gpus:
        return Finding("GPU", Verdict.OK, ", ".join(facts.gpus))
    words = "nvidia-smi finds none" if facts.has_driver else "no NVIDIA driver"
    if wanted.diffusion:
        return Finding(
            "GPU", Verdict.NOTE, f"{words}: only the model tiny runs", "genlock up --model tiny --device cpu"
        )
    return Finding("GPU", Verdict.OK, f"{words}; the mock engine needs none")


def _engine(facts: MachineFacts, wanted: Wanted) -> Iterator[Finding]:
    """What only the diffusion engine needs."""
    if not wanted.diffusion:
        yield Finding("engine", Verdict.OK, "mock: a painter on this CPU, not the diffusion model")
        return
    if facts.torch is None:
        yield Finding(
            "engine", Verdict.MISSING, "torch is not installed", "pip install 'genlock[diffusion]' (or: make diffusion)"
        )
    elif facts.gpus and facts.torch_sees_gpu is False:
        yield Finding(
            "engine",
            Verdict.MISSING,
            f"torch {facts.torch} does not see the GPU",
            "install the build of torch for the driver's CUDA: https://pytorch.org",
        )
    else:
        yield Finding("engine", Verdict.OK, f"torch {facts.torch}")
    yield _weights(facts, wanted)


def _weights(facts: MachineFacts, wanted: Wanted) -> Finding:
    if wanted.model == "tiny":
        return Finding("weights", Verdict.OK, "tiny needs none: they are random")
    if wanted.weights is None:
        return Finding(
            "weights",
            Verdict.MISSING,
            f"no folder was named for {wanted.model}",
            f"genlock models fetch {wanted.model} --into models, then --weights models",
        )
    if facts.weights_problem:
        words, _, todo = facts.weights_problem.partition("; ")
        return Finding("weights", Verdict.MISSING, words, todo.partition(" gets them")[0].strip("`"))
    return Finding("weights", Verdict.OK, f"{wanted.model} in {wanted.weights}")
