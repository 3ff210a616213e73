"""What the pages take for granted of the interface that they speak to."""

import re

from genlock_core.spec.session import StreamSessionSpec
from genlock_gateway.sessions.session_view import ControlRequest
from genlock_gateway.web.pages import PAGES, POLICY


def test_pictures_from_memory_may_be_shown_and_nothing_more_than_that() -> None:
    policy = dict(part.split(" ", 1) for part in POLICY.split("; "))
    assert policy["img-src"] == "'self' data: blob:"
    assert policy["connect-src"] == policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["default-src"] == "'none'"


def test_the_slider_goes_as_far_as_the_noise_scale_may() -> None:
    tag = re.search(r'<input id="noise"[^>]*>', (PAGES / "studio.html").read_text())
    assert tag is not None
    said = {name: float(value) for name, value in re.findall(r'(min|max|step)="([^"]*)"', tag[0])}
    spec = StreamSessionSpec.model_json_schema()["properties"]["noiseScale"]
    live = ControlRequest.model_json_schema()["properties"]["noiseScale"]["anyOf"][0]
    for bounds in (spec, live):
        assert (said["min"], said["max"]) == (bounds["minimum"], bounds["maximum"])
    assert said["step"] == 0.05
