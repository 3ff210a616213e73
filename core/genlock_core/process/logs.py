"""How every process logs: to stderr, as text for people or as JSON for machines, with all fields in both.

A call that knows which session, worker or gateway it speaks of says so in `extra`; whoever reads the line sees it:

    logger.info("link down", extra={"address": "10.1.2.3:7000", "cause": "timeout"})

    2025-06-01T10:00:00.000Z INFO    genlock_core.link.connection: link down address=10.1.2.3:7000 cause=timeout

stdout is for the `ready` line alone. What looks like a secret is masked, because a message may repeat an address or a
header that somebody else made.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from genlock_core.process.options import option
from genlock_core.process.values import one_of

LEVELS: Final = ("debug", "info", "warning", "error")
MASK: Final = "***"

_OF_EVERY_RECORD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_OF_UVICORN: Final = frozenset({"color_message"})
_BARE = re.compile(r"[\w./:@+,%*\[\]-]+")
_SECRETS: Final = (
    # The password of a URL: redis://:password@host.
    (re.compile(r"(\w://[^\s/@:]*:)\S+(?=@)"), rf"\1{MASK}"),
    (re.compile(r"((?:token|secret|password|credential)=)[^\s&,;]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(bearer )[^\s,;'\"]+", re.IGNORECASE), rf"\1{MASK}"),
)
_SECRET_FIELDS: Final = frozenset({"token", "secret", "secrets", "password", "credential", "authorization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a process logs."""

    format: str = option(one_of("text", "json"), "text", "how to log", name="log-format")
    level: str = option(one_of(*LEVELS, any_case=True), "info", "least severity that is logged", name="log-level")


def masked(text: str) -> str:
    """The text without what looks like a secret."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one record says, whatever it is written as."""

    time: str
    level: str
    logger: str
    message: str
    fields: Mapping[str, Any]
    exception: str | None


class _Formatter(logging.Formatter):
    """Makes the entry of a record. `fields` say which process it is; a record's own fields win over them."""

    def __init__(self, fields: Mapping[str, Any], hidden: Collection[str]) -> None:
        super().__init__()
        self._fields = dict(fields)
        self._hidden = _OF_EVERY_RECORD | _OF_UVICORN | frozenset(hidden)

    def entry(self, record: logging.LogRecord) -> _Entry:
        own = {name: value for name, value in record.__dict__.items() if name not in self._hidden}
        fields = {
            name: MASK if name.lower() in _SECRET_FIELDS else _without_secrets(value)
            for name, value in {**self._fields, **own}.items()
        }
        exception = masked(self.formatException(record.exc_info)) if record.exc_info else None
        return _Entry(
            time=f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            level=record.levelname.lower(),
            logger=record.name,
            message=masked(record.getMessage()),
            fields=fields,
            exception=exception,
        )


class JsonFormatter(_Formatter):
    """One JSON object per line: time, level, logger, message, the fields, and the exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = self.entry(record)
        shape: dict[str, Any] = {
            "time": entry.time,
            "level": entry.level,
            "logger": entry.logger,
            "message": entry.message,
        }
        # A field that is called like a part of the shape does not replace it.
        shape |= {f"{name}_" if name in {*shape, "exception"} else name: value for name, value in entry.fields.items()}
        if entry.exception is not None:
            shape["exception"] = entry.exception
        return json.dumps(shape, default=str, ensure_ascii=False)


class TextFormatter(_Formatter):
    """One line, the fields behind the message; then the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = self.entry(record)
        words = [f"{name}={_shown(value)}" for name, value in entry.fields.items()]
        line = " ".join([f"{entry.time} {entry.level.upper():7} {entry.logger}: {entry.message}", *words])
        return line if entry.exception is None else f"{line}\n{entry.exception}"


def _without_secrets(value: object) -> object:
    """A text is masked; so is what only becomes text when it is written."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_without_secrets(one) for one in value]
    if isinstance(value, dict):
        return {
            str(name): MASK if str(name).lower() in _SECRET_FIELDS else _without_secrets(one)
            for name, one in value.items()
        }
    return masked(str(value))


def _shown(value: object) -> str:
    """A field's value in a line of text: bare where it cannot be misread, quoted where it has blanks or is empty."""
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def configure(
    settings: LogSettings,
    *,
    fields: Mapping[str, Any],
    quiet: Collection[str] = (),
    hidden: Collection[str] = (),
) -> None:
    """Log everything of this process to stderr.

    `fields` stand in every line and say which process it is, such as {"worker": "w0"}. `quiet`: loggers of libraries
    that are heard from warnings on. `hidden`: fields that a library puts into records for itself.
    """
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter if settings.format == "json" else TextFormatter
    handler.setFormatter(formatter(fields, hidden))
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    for name in quiet:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
