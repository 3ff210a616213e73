"""A real Chromium for the tests: looked for, and got where that is possible.

`python -m tests.browsers` (part of `make test`) makes sure that there is one and says what it did. The fixture
`browser_executable` gives its path; where there is none it skips the test, or fails it when CI=true.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENV_VARIABLE = "GENLOCK_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
START_TIMEOUT_S = 60.0
HELP = (
    "no Chromium that starts; as root on Debian type `apt-get install -y chromium`, elsewhere "
    "`.venv/bin/playwright install --with-deps chromium`, or name one: "
    f"`export {ENV_VARIABLE}=/path/to/chromium`"
)

_PLAYWRIGHTS_OWN = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""


@pytest.fixture(scope="session")
def browser_executable() -> Path:
    """The path of a Chromium that starts."""
    found = find_browser()
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(HELP)
    pytest.skip(HELP)


def find_browser() -> Path | None:
    """$GENLOCK_BROWSER, else the first of `NAMES` on PATH, else Playwright's own; None when that one does not start.

    What somebody named on purpose is the only candidate: another browser in its place would surprise them.
    """
    named = os.environ.get(ENV_VARIABLE)
    on_path = [shutil.which(name) for name in NAMES]
    candidates = [named] if named else [*filter(None, on_path), _playwrights_own()]
    return next((Path(candidate) for candidate in candidates if _starts(candidate)), None)


def get_browser() -> Path | None:
    """A browser that is there, else Debian's package (as root, on Debian), else Playwright's own; None if all fail."""
    found = find_browser()
    if found is not None or os.environ.get(ENV_VARIABLE):
        return found
    is_root = os.geteuid() == 0
    if is_root and _is_debian():
        _say("installing Debian's package chromium")
        if _run("apt-get", "update", "-q") and _run("apt-get", "install", "-q", "-y", "chromium"):
            found = find_browser()
    if found is None:
        _say("installing Playwright's own Chromium")
        with_deps = ["--with-deps"] if is_root else []
        _run(sys.executable, "-m", "playwright", "install", *with_deps, "chromium")
        found = find_browser()
    return found


def main() -> int:
    """Say which browser the tests will drive; 1 when CI=true and there is none."""
    found = get_browser()
    if found is None:
        _say(HELP)
        return 1 if os.environ.get("CI") == "true" else 0
    _say(str(found))
    return 0


def _playwrights_own() -> str:
    """Where Playwright keeps, or would keep, its Chromium; asked in a child, as its driver wants no running loop."""
    answer = subprocess.run(
        [sys.executable, "-c", _PLAYWRIGHTS_OWN], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return answer.stdout.strip()


def _starts(executable: str) -> bool:
    """Whether it opens a page: a Chromium without its system libraries is there and does not."""
    if shutil.which(executable) is None:
        return False
    command = [executable, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "about:blank"]
    try:
        answer = subprocess.run(
            command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=START_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and b"<html>" in answer.stdout


def _is_debian() -> bool:
    """Debian itself: Ubuntu's package of that name is a stub that wants snap."""
    release = Path("/etc/os-release")
    return shutil.which("apt-get") is not None and release.is_file() and "ID=debian" in release.read_text().split()


def _run(*command: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, env=environment).returncode == 0


def _say(message: str) -> None:
    sys.stdout.write(f"browser: {message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
