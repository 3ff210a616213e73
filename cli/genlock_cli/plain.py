"""Text of others for a terminal: a prompt, a name or an answer can neither move the cursor nor break a table.

A terminal obeys what it prints: an escape sequence in a prompt could change the window's title, hide a line or answer
in the user's name. So nothing that was not written here reaches a terminal as it is.
"""

from typing import Final

from rich.cells import cell_len

ELLIPSIS: Final = "…"
_JOINERS: Final = frozenset("\u200c\u200d")
"""They are no printable characters, and yet parts of words in Persian and of many emoji."""


def plain(text: object, *, at_most: int | None = None) -> str:
    """The text on one line, its blanks and line ends as single blanks, every other control character in words (\\x1b).

    `at_most`: cells of the terminal; what is longer ends in an ellipsis.
    """
    line = _escaped(" ".join(str(text).split()))
    return line if at_most is None else _clamped(line, at_most)


def plain_lines(text: object) -> str:
    """The same with the line ends that the text has, for messages of several lines."""
    return "\n".join(_escaped(line.rstrip("\r").replace("\t", "    ")) for line in str(text).split("\n"))


def _escaped(line: str) -> str:
    return "".join(_shown(char) for char in line)


def _shown(char: str) -> str:
    if char.isprintable() or char in _JOINERS:
        return char
    return char.encode("unicode_escape").decode("ascii")


def _clamped(line: str, cells: int) -> str:
    if cell_len(line) <= cells:
        return line
    kept = line[:cells]
    while kept and cell_len(kept) > cells - 1:
        kept = kept[:-1]
    return kept.rstrip() + ELLIPSIS
