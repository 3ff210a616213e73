"""What a gateway answers, as errors of the command."""

import httpx
import pytest

from genlock_cli.api import GatewayApi, GatewayProblem, problem_of
from genlock_cli.exit_status import ExitStatus


def test_every_mistake_that_the_gateway_found_is_told() -> None:
    errors = [{"path": "steps", "message": "at most 4"}, {"path": "prompt", "message": "is empty"}]
    body = {"title": "Unprocessable Entity", "detail": "the change has mistakes", "errors": errors}
    problem = problem_of(httpx.Response(422, json=body))
    assert str(problem) == "the change has mistakes: steps: at most 4; prompt: is empty"
    assert problem.fields == {"httpStatus": 422, "mistakes": errors}


def test_an_answer_of_somebody_else_is_shown_in_part() -> None:
    problem = problem_of(httpx.Response(502, text="<html>" + "x" * 1_000))
    assert problem.exit_status is ExitStatus.UNREACHABLE
    assert str(problem).startswith("HTTP 502 Bad Gateway: <html>")
    assert len(str(problem)) < 300


def test_who_gave_no_token_is_told_how() -> None:
    problem = problem_of(httpx.Response(401, json={"title": "Unauthorized", "detail": "a token is needed"}))
    assert str(problem).startswith("a token is needed; give one with --token")


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(301, headers={"Location": "/x"})]
)
def test_what_is_no_gateway_is_told(answer: httpx.Response, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx.Client, "request", lambda *_, **__: answer)
    with GatewayApi("http://127.0.0.1:9", None) as api, pytest.raises(GatewayProblem):
        api.sessions()


def test_a_certificate_that_nobody_knows_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate")

    monkeypatch.setattr(httpx.Client, "request", refuses)
    with GatewayApi("https://127.0.0.1:9", None) as api, pytest.raises(GatewayProblem, match="SSL_CERT_FILE") as told:
        api.sessions()
    assert told.value.exit_status is ExitStatus.UNREACHABLE


def test_a_gateway_that_is_away_is_told_with_what_to_do() -> None:
    with GatewayApi("http://127.0.0.1:9", None) as api, pytest.raises(GatewayProblem, match="genlock up") as away:
        api.sessions()
    assert away.value.exit_status is ExitStatus.UNREACHABLE
