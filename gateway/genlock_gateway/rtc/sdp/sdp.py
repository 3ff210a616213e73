"""The lines of SDP (RFC 8866), whoever wrote them; what an offer must say is in offer.py, a fragment in trickle.py."""

from collections.abc import Iterator

from genlock_gateway.rtc.sdp.offer_error import malformed

MAX_LINE_CHARS = 8 * 1024


def lines_of(text: str, *, what: str) -> Iterator[str]:
    """The lines that are not empty, each of the form `x=value`. Raises OfferError, which names `what` it is of."""
    for raw in text.split("\n"):
        line = raw.rstrip("\r")
        if not line:
            continue
        if len(line) < 2 or line[1] != "=" or not ("a" <= line[0] <= "z"):
            raise malformed(f"a line of the {what} is not of the form x=value")
        yield line


def split_sections(text: str) -> tuple[list[str], list[list[str]]]:
    """Lines before the first m-line, and the lines of each section of an offer. Raises OfferError."""
    session: list[str] = []
    media: list[list[str]] = []
    for line in lines_of(text, what="offer"):
        if len(line) > MAX_LINE_CHARS:
            raise malformed(f"a line of the offer is longer than {MAX_LINE_CHARS} characters")
        if line[0] == "m":
            media.append([])
        (media[-1] if media else session).append(line)
    if not session or session[0] != "v=0":
        raise malformed("the offer does not begin with v=0")
    if not media:
        raise malformed("the offer has no m-line")
    return session, media


def attributes(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Names and values of the a= lines."""
    for line in lines:
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            yield name, value.strip()


def first(lines: list[str], name: str) -> str | None:
    """The value of the first a= line of that name."""
    return next((value for key, value in attributes(lines) if key == name), None)
