"""docs/clients.md, made of what a run has seen: who works, with which settings, and a picture each."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from tests.clients.catalogue import CLIENTS
from tests.clients.laboratory import LANES, Client
from tests.clients.program import ROOT
from tests.clients.proof import Proof, Way

PAGE = ROOT / "docs" / "clients.md"
PICTURES = ROOT / "docs" / "images" / "clients"
_WIDTH = 160
_JPEG_QUALITY = 72
_COLUMNS = (
    "picture",
    "client",
    "version",
    "codec",
    "first picture",
    "size",
    "pictures seen",
    "settings",
    "verdict",
)

_INTRODUCTION = """\
# Clients that were run

`make clients` runs each client below, unmodified, against `genlock up` with its default settings, and decodes what
viewers then see. A client works if enough pictures of the right size come and something moves in them. This page is
written by that run (`make clients ARGS=--write`), which is a stage of `.ci/run`; what is not in it was not run.

The pictures are those of the mock engine. **First picture** is the time from the client's offer to the first decoded
picture: for a client that publishes, at a viewer that was there before, so that it includes the engine; for one that
watches, in that client, while somebody else publishes. All figures are of one run on {cores} cores, which the engine,
the gateway and up to {side_by_side} clients shared: they compare clients, and are no promise.
"""

_LEFT_OUT = """\
## What was not run

* **OBS Studio** itself: Debian builds it without WHIP. Its offer (30.1, as libdatachannel writes it) and a stream with
  the B-frames of its default encoder settings are replayed.
* **GStreamer's `whipclientsink` and `whepsrc`**: Debian has no package of them. `webrtcbin`, on which they stand, was.
* **Safari and phones**: nothing here can run them. `genlock up --lan` serves a phone its page.
* **Firefox with a camera**: its default preferences ask a person for each camera, so it publishes a canvas here.
"""


def write_page(proofs: Mapping[str, Proof]) -> None:
    """Write the page and its pictures anew; `proofs` are those of all clients, by their ids."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*.jpg"):
        old.unlink()
    for client in CLIENTS:
        _write_picture(PICTURES / f"{client.id}.jpg", proofs[client.id])

    introduction = _INTRODUCTION.format(cores=os.cpu_count(), side_by_side=len(LANES))
    publishers = _table([client for client in CLIENTS if client.way is Way.PUBLISH], proofs)
    viewers = _table([client for client in CLIENTS if client.way is Way.WATCH], proofs)
    parts = (introduction, "## Who publishes\n", publishers, "## Who watches\n", viewers, _LEFT_OUT)
    PAGE.write_text("\n".join(parts))


def told_in(page: str) -> list[tuple[str, str, str]]:
    """The picture, the client and the settings of each row of the page."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in page.splitlines() if "![" in line
    ]
    return [(row[0], row[1], row[_COLUMNS.index("settings")]) for row in rows]


def row_of(client: Client) -> tuple[str, str, str]:
    """What the page has to say of a client, whatever a run has seen."""
    return f"![{client.id}](images/clients/{client.id}.jpg)", client.title, client.settings


def _table(clients: Sequence[Client], proofs: Mapping[str, Proof]) -> str:
    lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    for client in clients:
        proof = proofs[client.id]
        picture, title, settings = row_of(client)
        verdict = "publishes" if client.way is Way.PUBLISH else "plays"
        size = f"{proof.width}x{proof.height}"
        seen = f"{proof.frames}, moving"
        first = f"{proof.first_frame_ms} ms"
        lines.append(_line([picture, title, proof.version, proof.codec, first, size, seen, settings, verdict]))
    return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _write_picture(path: Path, proof: Proof) -> None:
    height = round(proof.height * _WIDTH / proof.width)
    small = cv2.resize(proof.picture, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
