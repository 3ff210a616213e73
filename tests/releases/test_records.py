"""A session's record that today's code wrote is read by the processes of an earlier release beside it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from genlock_core.claims.record import SessionRecord, to_fields
from genlock_core.spec.session import AccessSpec
from tests.core.claims import samples
from tests.releases.worker_process import RELEASES, unpack

READ = """
import json, sys
from genlock_core.claims import record
assert record.__file__.startswith(sys.argv[1]), record.__file__
session = record.from_fields(json.load(sys.stdin)).session
print(session.access.model_dump_json())
"""


@pytest.mark.parametrize("release", sorted(wheel.parent.name for wheel in RELEASES.glob("*/*.whl")))
def test_a_session_that_names_web_sites_is_served_by_an_earlier_release_without_them(
    release: str, tmp_path: Path
) -> None:
    code, record = unpack(release, tmp_path), samples.record()
    access = AccessSpec(origins=("https://www.example.org", "*"))
    named = replace(record, session=record.session.model_copy(update={"access": access}))
    assert read(code, named) == {"publish": "Token", "view": "Public"}


def read(code: Path, record: SessionRecord) -> object:
    """The access of the session, as the release's code reads it."""
    answer = subprocess.run(
        [sys.executable, "-c", READ, str(code)],
        input=json.dumps(to_fields(record)),
        env={**os.environ, "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)
