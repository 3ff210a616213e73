"""Weights: fetched once, gone on with, never under their name before they are right; against a real server."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest

from genlock_worker.engines.diffusion.weights.volume import (
    TOKEN_VARIABLE,
    TRIES,
    BrokenOff,
    Fetcher,
    WeightFile,
    WeightsRefused,
    main,
    parse_list,
)

CONTENT = bytes(range(256)) * 4_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """A server of one file: how many bytes each answer gives before it breaks off, and what it was asked."""

    url: str = ""
    breaks_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    knows_ranges: bool = True


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            site.ranges.append(asked)
            site.tokens.append(self.headers["Authorization"])
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and site.knows_ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            end = start + site.breaks_after.pop(0) if site.breaks_after else len(CONTENT)
            self.wfile.write(CONTENT[start:end])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}/model.safetensors"
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def fetcher(folder: Path, token: str = "") -> Fetcher:
    return Fetcher(folder, token, say=lambda _: None, sleep=lambda _: None)


def wanted(site: Site, sha256: str = SHA256) -> WeightFile:
    return WeightFile(site.url, PurePosixPath("wan/model.safetensors"), sha256)


def test_a_file_is_fetched_below_the_folder(site: Site, tmp_path: Path) -> None:
    fetcher(tmp_path).fetch(wanted(site))
    assert (tmp_path / "wan/model.safetensors").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "wan").iterdir()] == ["model.safetensors"]


def test_a_file_that_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    fetcher(tmp_path).fetch(wanted(site))
    fetcher(tmp_path).fetch(wanted(site))
    assert len(site.ranges) == 1


def test_a_file_that_is_damaged_is_fetched_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "wan").mkdir()
    (tmp_path / "wan/model.safetensors").write_bytes(CONTENT[:-1])
    fetcher(tmp_path).fetch(wanted(site))
    assert (tmp_path / "wan/model.safetensors").read_bytes() == CONTENT


def test_a_download_that_breaks_off_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    site.breaks_after = [100_000, 200_000]
    fetcher(tmp_path).fetch(wanted(site))
    assert site.ranges == [None, "bytes=100000-", "bytes=300000-"]
    assert (tmp_path / "wan/model.safetensors").read_bytes() == CONTENT


def test_a_new_job_goes_on_where_the_last_one_was_killed(site: Site, tmp_path: Path) -> None:
    site.breaks_after = [1_000] * TRIES
    with pytest.raises(BrokenOff):
        fetcher(tmp_path).fetch(wanted(site))
    assert not (tmp_path / "wan/model.safetensors").exists()
    fetcher(tmp_path).fetch(wanted(site))
    assert site.ranges[-1] == f"bytes={1_000 * TRIES}-"


def test_a_server_that_knows_no_ranges_is_asked_from_the_beginning(site: Site, tmp_path: Path) -> None:
    site.knows_ranges = False
    site.breaks_after = [1_000]
    fetcher(tmp_path).fetch(wanted(site))
    assert (tmp_path / "wan/model.safetensors").read_bytes() == CONTENT


def test_a_part_that_was_whole_already_is_taken(site: Site, tmp_path: Path) -> None:
    (tmp_path / "wan").mkdir()
    (tmp_path / f"wan/model.safetensors.{SHA256[:8]}.part").write_bytes(CONTENT)
    fetcher(tmp_path).fetch(wanted(site))
    assert (tmp_path / "wan/model.safetensors").read_bytes() == CONTENT


def test_another_file_than_was_asked_for_is_refused_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match="another file"):
        fetcher(tmp_path).fetch(wanted(site, "0" * 64))
    assert list((tmp_path / "wan").iterdir()) == []


def test_a_server_that_is_busy_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429]
    fetcher(tmp_path).fetch(wanted(site))
    assert len(site.ranges) == 3


def test_a_file_that_is_not_there_is_refused_at_once(site: Site, tmp_path: Path) -> None:
    site.statuses = [404]
    with pytest.raises(WeightsRefused, match="404"):
        fetcher(tmp_path).fetch(wanted(site))
    assert len(site.ranges) == 1


def test_the_token_goes_to_the_server(site: Site, tmp_path: Path) -> None:
    fetcher(tmp_path, "secret").fetch(wanted(site))
    assert site.tokens == ["Bearer secret"]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"path": "../x"}, "below the folder"),
        ({"path": "/etc/passwd"}, "below the folder"),
        ({"path": ""}, "below the folder"),
        ({"url": "file:///etc/passwd"}, "http"),
        ({"sha256": "ABC"}, "64"),
    ],
)
def test_a_list_with_a_mistake_is_refused(entry: dict[str, str], why: str) -> None:
    good = {"url": "https://example.org/x", "path": "x", "sha256": SHA256}
    with pytest.raises(WeightsRefused, match=why):
        parse_list(json.dumps({"files": [good, good | entry]}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": [{}]}', '{"files": 3}'])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(WeightsRefused):
        parse_list(text)


def test_the_command(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "from the Secret")
    files = tmp_path / "list.json"
    files.write_text(json.dumps({"files": [{"url": site.url, "path": "a", "sha256": SHA256}]}))
    assert main(["--list", str(files), "--into", str(tmp_path)]) == 0
    assert site.tokens == ["Bearer from the Secret"]
    assert "a: done, 1.0 MB" in capsys.readouterr().out
    files.write_text("{")
    assert main(["--list", str(files), "--into", str(tmp_path)]) == 1
