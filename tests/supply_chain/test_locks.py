"""A lock file is read whole, or it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supply_chain.locks import NoLock, Pin, parse, read

TEXT = """# What it is.
aiortc==1.16.0 \\
    --hash=sha256:0a \\
    --hash=sha256:0b
av==18.1.0 ; python_full_version < '3.12' \\
    --hash=sha256:0c
"""

names = st.text("abyz09-._", min_size=1, max_size=8)
versions = st.text("0123456789.+!rcpost", min_size=1, max_size=8)
markers = st.sampled_from(["", "sys_platform == 'linux'", "python_full_version < '3.12' and sys_platform == 'win32'"])
digests = st.text("0123456789abcdef", min_size=1, max_size=8).map("sha256:{}".format)
pins = st.builds(Pin, names, versions, markers, st.lists(digests, min_size=1, max_size=4).map(tuple))


def test_a_pin_has_its_marker_and_its_hashes() -> None:
    assert parse(TEXT) == [
        Pin("aiortc", "1.16.0", "", ("sha256:0a", "sha256:0b")),
        Pin("av", "18.1.0", "python_full_version < '3.12'", ("sha256:0c",)),
    ]


@given(st.lists(pins, max_size=5))
def test_what_was_written_is_read(written: list[Pin]) -> None:
    lines = []
    for pin in written:
        marker = f" ; {pin.marker}" if pin.marker else ""
        lines.append(" \\\n".join([f"{pin.name}=={pin.version}{marker}", *(f"    --hash={one}" for one in pin.hashes)]))
    assert parse("# a lock\n" + "\n".join(lines) + "\n") == written


@pytest.mark.parametrize(
    "text",
    [
        "aiortc==1.16.0\n",
        "aiortc==1.16.0 \\\n    --hash=sha256:0a\nav==18.1.0\n",
        "aiortc>=1.16 \\\n    --hash=sha256:0a\n",
        "aiortc==1.16.0 \\\n    --hash=sha256:0a\n--index-" + "url https://example.org\n",
        "-e .\n",
    ],
)
def test_what_is_no_lock_is_refused(text: str) -> None:
    with pytest.raises(NoLock):
        parse(text)


def test_a_line_for_pip_has_every_hash_and_no_condition() -> None:
    assert [pin.requirement() for pin in parse(TEXT)] == [
        "aiortc==1.16.0 --hash=sha256:0a --hash=sha256:0b",
        "av==18.1.0 --hash=sha256:0c",
    ]


def test_the_locks_of_this_repository_are_read() -> None:
    assert {pin.name for pin in read("build")} >= {"editables", "hatchling"}
