"""Manifests by files and by stdin: read once, and what is none is said with its name."""

import io
import sys
from pathlib import Path

import pytest

from genlock_cli.session.manifests import MOST_BYTES, read_texts
from genlock_core.errors import BadInput


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_files_and_stdin_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a")
    stdin(monkeypatch, "ü".encode())
    assert list(read_texts(["-", str(file)]).items()) == [("stdin", "ü"), (str(file), "a")]


def test_what_is_no_text_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="stdin is no manifest: it is not text in UTF-8"):
        read_texts(["-"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.yaml", "No such file"),
        (".", "Is a directory"),
        ("a\0b", "null byte"),
        ("/dev/zero", "longer than 1 MiB"),
    ],
)
def test_what_cannot_be_read_is_told(name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=words):
        read_texts([name])


def test_a_closed_stdin_is_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert read_texts(["-"]) == {"stdin": ""}


def test_the_same_twice_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"")
    with pytest.raises(BadInput, match="stdin is named twice"):
        read_texts(["-", "-"])


def test_no_more_is_read_than_a_manifest_has(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"x" * (MOST_BYTES + 1))
    with pytest.raises(BadInput, match="longer than"):
        read_texts(["-"])
