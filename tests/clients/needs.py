"""What the clients need of a machine, where it is, and what to type where it is not."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.browsers import HELP, find_browser
from tests.clients.program import BUILT, PROGRAMS

_INSTALL = "`make clients-install` gets it, or says what to type"


@dataclass(frozen=True, slots=True)
class Tool:
    """A thing that a client is run with."""

    find: Callable[[], Path | None]
    help: str


class Need(Enum):
    """The tools, by the clients that cannot do without them."""

    CHROMIUM = Tool(find_browser, HELP)
    FIREFOX = Tool(lambda: _on_path("firefox-esr"), f"no firefox-esr: {_INSTALL}")
    GSTREAMER = Tool(
        lambda: _gstreamer(), f"the system's Python has no GStreamer with webrtcbin and libnice: {_INSTALL}"
    )
    PION = Tool(lambda: _file(BUILT / "pion"), f"no client on pion: {_INSTALL}")
    NODE = Tool(
        lambda: _on_path("node") if _modules() and (BUILT / "eyevinn.js").is_file() else None,
        f"no node with the npm clients: {_INSTALL}",
    )
    REACTOR = Tool(
        lambda: Path(sys.executable) if importlib.util.find_spec("reactor_webrtc") else None,
        f"no reactor-webrtc, whose wheels need Linux with glibc 2.34: {_INSTALL}",
    )


def find_all(needs: Iterable[Need]) -> Mapping[Need, Path]:
    """Where those of the tools are that this machine has."""
    found = {need: need.value.find() for need in set(needs)}
    return {need: path for need, path in found.items() if path is not None}


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _modules() -> bool:
    return (PROGRAMS / "node" / "node_modules").is_dir()


def _gstreamer() -> Path | None:
    """Debian's Python, which has GStreamer's bindings; ours has not."""
    python = Path("/usr/bin/python3")
    script = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstWebRTC', '1.0'); "
        "from gi.repository import Gst; Gst.init(None); "
        "raise SystemExit(not all(map(Gst.ElementFactory.find, ('webrtcbin', 'nicesrc', 'dtlssrtpdec'))))"
    )
    if not python.is_file():
        return None
    answer = subprocess.run(
        [python, "-c", script], check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=60
    )
    return python if answer.returncode == 0 else None
