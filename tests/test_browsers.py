"""The browser that the other tests drive is a real one, and what is missing is named."""

from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from tests import browsers


@pytest.mark.browser
async def test_playwright_drives_the_browser_that_was_found(browser_executable: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_executable, args=["--no-sandbox"])
        page = await browser.new_page()
        await page.set_content("<title>on air</title>")
        assert await page.title() == "on air"
        await browser.close()


def test_a_named_browser_is_the_only_candidate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(browsers.ENV_VARIABLE, str(tmp_path / "missing"))
    assert browsers.find_browser() is None


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_a_missing_browser_is_named_and_fails_only_in_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], ci: str, code: int
) -> None:
    monkeypatch.setenv(browsers.ENV_VARIABLE, str(tmp_path / "missing"))
    monkeypatch.setenv("CI", ci)
    assert browsers.main() == code
    assert "apt-get install -y chromium" in capsys.readouterr().out


def test_a_program_that_opens_no_page_is_no_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "chromium"
    fake.write_text("#!/bin/sh\necho error while loading shared libraries >&2\nexit 127\n")
    fake.chmod(0o755)
    monkeypatch.setenv(browsers.ENV_VARIABLE, str(fake))
    assert browsers.find_browser() is None
