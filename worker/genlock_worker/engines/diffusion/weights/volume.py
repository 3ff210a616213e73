"""Fills a volume with the weights of a model: `python -m genlock_worker.engines.diffusion.weights.volume`.

Runs once, in the chart's Job, before workers mount the volume; a worker never downloads. It needs Python alone.
A file that is there with the right digest is left as it is, a download that broke off goes on where it was, and a file
gets its name only once its digest is right: so the Job may be killed at any moment and started again.
"""

import argparse
import hashlib
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from genlock_core.errors import GenlockError

TOKEN_VARIABLE = "GENLOCK_WEIGHTS_TOKEN"  # noqa: S105 - its name
PIECE_BYTES = 1 << 20
TIMEOUT_S = 60.0
SAY_EVERY_S = 10.0
TRIES = 5
RETRY_AFTER_S = 2.0
_DIGEST = re.compile(r"[0-9a-f]{64}")


class WeightsRefused(GenlockError):
    """The list cannot be read, a server does not give a file, or gives another one than was asked for."""


class BrokenOff(GenlockError):
    """A download ended before its time; to go on may help."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file: where from, where to below the folder, and what it must be."""

    url: str
    path: PurePosixPath
    sha256: str


def parse_list(text: str) -> tuple[WeightFile, ...]:
    """From `{"files": [{"url", "path", "sha256"}, ...]}`. Raises WeightsRefused, naming the entry."""
    try:
        return tuple(_entry(number, entry) for number, entry in enumerate(json.loads(text)["files"]))
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsRefused(f"not a list of files: {error!r}") from error


def _entry(number: int, entry: dict[str, str]) -> WeightFile:
    path = PurePosixPath(entry["path"])
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise WeightsRefused(f"files[{number}].path {entry['path']!r}: must lie below the folder")
    if not entry["url"].startswith(("https://", "http://")):
        raise WeightsRefused(f"files[{number}].url {entry['url']!r}: must be http:// or https://")
    if not _DIGEST.fullmatch(entry["sha256"]):
        raise WeightsRefused(f"files[{number}].sha256: must be 64 small hexadecimal digits")
    return WeightFile(entry["url"], path, entry["sha256"])


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Brings files into `folder`; `say` gets a line now and then, `sleep` waits between tries."""

    folder: Path
    token: str = ""
    say: Callable[[str], None] = print
    sleep: Callable[[float], None] = time.sleep

    def fetch(self, file: WeightFile) -> None:
        """Have this file. Raises WeightsRefused; BrokenOff after several tries in a row."""
        target = self.folder / file.path
        if target.exists() and digest(target) == file.sha256:
            self.say(f"{file.path}: is there")
            return

        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{file.sha256[:8]}.part")
        for remaining in reversed(range(TRIES)):
            try:
                self._download(file, part)
                break
            except BrokenOff as error:
                if not remaining:
                    raise
                self.say(f"{file.path}: {error}; goes on in {RETRY_AFTER_S:g} s")
                self.sleep(RETRY_AFTER_S)

        if digest(part) != file.sha256:
            part.unlink()
            raise WeightsRefused(f"{file.path}: {file.url} is another file than sha256 says")

        part.replace(target)
        self.say(f"{file.path}: done, {target.stat().st_size / 1e6:.1f} MB")

    def _download(self, file: WeightFile, part: Path) -> None:
        """Append what is missing to `part`. Raises BrokenOff or WeightsRefused."""
        have = part.stat().st_size if part.exists() else 0
        request = urllib.request.Request(file.url)  # noqa: S310 - http and https alone
        if have:
            request.add_header("Range", f"bytes={have}-")

        if self.token:
            # A redirection to another host must not take the token along.
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")

        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
                with part.open("ab" if goes_on else "wb") as out:
                    self._copy(file, answer, out.write, have if goes_on else 0)
        except urllib.error.HTTPError as error:
            if have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # all of it was there already; the digest decides
            if error.code == http.HTTPStatus.TOO_MANY_REQUESTS or error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise BrokenOff(f"the server says {error.code}") from error
            raise WeightsRefused(f"{file.path}: {file.url}: {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise BrokenOff(f"broke off: {error}") from error

    def _copy(
        self, file: WeightFile, answer: http.client.HTTPResponse, write: Callable[[bytes], int], have: int
    ) -> None:
        expected = have + answer.length if answer.length is not None else None
        said_s = time.monotonic()
        while piece := answer.read(PIECE_BYTES):
            write(piece)
            have += len(piece)
            if time.monotonic() - said_s >= SAY_EVERY_S:
                said_s = time.monotonic()
                of = f" of {expected / 1e6:.0f}" if expected else ""
                self.say(f"{file.path}: {have / 1e6:.0f}{of} MB")

        if expected is not None and have < expected:
            raise BrokenOff(f"broke off at {have} of {expected} bytes")


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 if every file is there, 1 if one cannot be had; what could be had stays."""
    parser = argparse.ArgumentParser(prog="genlock-weights", description="Fills a folder with a model's weights.")
    parser.add_argument("--list", type=Path, required=True, help='JSON: {"files": [{"url", "path", "sha256"}, ...]}')
    parser.add_argument("--into", type=Path, required=True, help="the folder")
    given = parser.parse_args(arguments)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    fetcher = Fetcher(given.into, os.environ.get(TOKEN_VARIABLE, ""), say)
    try:
        for file in parse_list(given.list.read_text(encoding="utf-8")):
            fetcher.fetch(file)
    except (GenlockError, OSError) as error:
        sys.stderr.write(f"genlock-weights: {error}\n")
        return 1

    return 0


if __name__ == "__main__":
    sys.exit(main())
