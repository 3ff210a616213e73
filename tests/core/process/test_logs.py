"""One shape of log lines for every process: all fields are in both forms, and no secret is in either."""

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.process.logs import JsonFormatter, LogSettings, TextFormatter, configure, masked

words = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)


def record(message: str = "link down", **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("genlock.test", logging.INFO, "x.py", 1, message, (), None)
    made.__dict__.update(extra)
    return made


def as_json(made: logging.LogRecord, **fields: object) -> dict[str, object]:
    read: dict[str, object] = json.loads(JsonFormatter(fields, ()).format(made))
    return read


@pytest.fixture
def root_logger() -> Iterator[None]:
    """What `configure` changes is put back."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.getLogger("chatty").setLevel(logging.NOTSET)


def test_the_text_shows_which_link_and_which_session() -> None:
    line = TextFormatter({"worker": "w0"}, ()).format(record(session="default/demo", epoch=3, cause="it was cut"))
    assert line.endswith('INFO    genlock.test: link down worker=w0 session=default/demo epoch=3 cause="it was cut"')


def test_json_has_the_same_fields_with_their_types() -> None:
    entry = as_json(record(session="default/demo", epoch=3, names=("a", "b")), gateway="g0")
    assert list(entry) == ["time", "level", "logger", "message", "gateway", "session", "epoch", "names"]
    assert (entry["level"], entry["message"], entry["gateway"]) == ("info", "link down", "g0")
    assert (entry["session"], entry["epoch"], entry["names"]) == ("default/demo", 3, ["a", "b"])


def test_a_records_own_field_wins_and_none_replaces_a_part_of_the_shape() -> None:
    entry = as_json(record(worker="w9", level="high", logger="mine"), worker="w0")
    assert (entry["worker"], entry["level"], entry["level_"], entry["logger_"]) == ("w9", "info", "high", "mine")


def test_an_exception_is_in_both() -> None:
    try:
        raise ValueError("no such frame")
    except ValueError as error:
        made = record()
        made.exc_info = (type(error), error, error.__traceback__)
    assert "ValueError: no such frame" in str(as_json(made)["exception"])
    first, *traceback = TextFormatter({}, ()).format(made).splitlines()
    assert first.endswith("link down")
    assert traceback[-1] == "ValueError: no such frame"


def test_what_a_library_keeps_for_itself_is_hidden() -> None:
    assert "settings" not in JsonFormatter({}, ("settings",)).format(record(settings=object(), color_message="x"))
    assert "color_message" not in TextFormatter({}, ()).format(record(color_message="x"))


@given(secret=words.filter(lambda word: len(word) > 3))
def test_no_secret_is_in_a_line(secret: str) -> None:
    secret = f"{secret}-Zq9"
    told = (
        f"redis://:{secret}@redis:6379/0",
        f"rediss://user:{secret}@redis",
        f"GET /events?token={secret}&x=1",
        f"Authorization: Bearer {secret}",
    )
    for text in told:
        made = record(f"refused: {text}", detail=text, several=[text], inside={"at": text})
        made.__dict__["token"] = secret
        for formatter in (JsonFormatter({}, ()), TextFormatter({}, ())):
            line = formatter.format(made)
            assert secret not in line
            assert "***" in line


@given(text=st.text(st.characters(categories=("L", "N", "Z"), include_characters=".,:/-_"), max_size=80))
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    if "bearer" not in text.lower():
        assert masked(text) == text


@given(value=st.text(max_size=40))
def test_a_field_never_breaks_the_line(value: str) -> None:
    assert len(TextFormatter({}, ()).format(record(detail=value)).split("\n")) == 1


@pytest.mark.usefixtures("root_logger")
def test_everything_goes_to_stderr_from_the_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(format="json", level="warning"), fields={"worker": "w0"}, quiet=("chatty",))
    logging.getLogger("genlock.test").info("hidden")
    logging.getLogger("genlock.test").warning("shown", extra={"session": "a/b"})
    told = capsys.readouterr()
    assert told.out == ""
    (entry,) = [json.loads(line) for line in told.err.splitlines()]
    assert (entry["message"], entry["worker"], entry["session"]) == ("shown", "w0", "a/b")


@pytest.mark.usefixtures("root_logger")
def test_a_chatty_library_is_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(level="debug"), fields={}, quiet=("chatty",))
    logging.getLogger("chatty").info("hidden")
    logging.getLogger("chatty").warning("shown")
    logging.getLogger("genlock.test").debug("ours")
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()] == ["shown", "ours"]
