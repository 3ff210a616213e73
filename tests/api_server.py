"""A real kube-apiserver on etcd as child processes, with controllers and a scheduler where they are wanted.

The fixtures are in `tests.kube_fixtures`. Ready in about 4 s; what the programs say goes to files, and is quoted only
when one of them fails.
"""

import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from genlock_cli.redis_server import end_with_parent
from tests import envtest

START_TIMEOUT_S = 60.0
POLL_S = 0.05

ADMIN, PERSON = "admin", "person"
CONTROLLER_MANAGER, SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
# Who may sign in with a token of their own, and their groups. Everybody else is impersonated (see `ApiServer.client`).
USERS = {ADMIN: "system:masters", PERSON: "", CONTROLLER_MANAGER: "", SCHEDULER: ""}

CONTROLLERS = (
    "disruption-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "serviceaccount-controller",
)
# Pods need no service account where no controller makes the `default` one, and nodes no taint that nobody takes away.
WITHOUT_CONTROLLERS = "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition"

# Below the usual ephemeral ranges, so that no outgoing connection takes a port while its server is away.
_PORTS = range(20_000, 30_000)
_START_ATTEMPTS = 5
_LAST_LINES = 15


class StartFailed(Exception):
    """A program that ended, or was not ready in time; the message ends with its own last words."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
        super().__init__(f"{name}: {reason}\n{last}")


class ApiServer:
    """One etcd and one kube-apiserver with RBAC, and with `controllers` the controller manager and the scheduler.

    All die with the thread that started them (Linux), and with `stop`. Nothing outlives the folder that they are given.

    Raises:
        AssetsMissing: this machine has no such programs.
    """

    def __init__(self, directory: Path, *, controllers: bool = False, assets: Path | None = None) -> None:
        self._directory = directory
        self.with_controllers = controllers
        self._assets = assets or envtest.find_assets(envtest.API_SERVER + (envtest.CONTROLLERS if controllers else ()))
        self._tokens = {name: secrets.token_hex(16) for name in USERS}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd_port = self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def token(self) -> str:
        """The administrator's token."""
        return self._tokens[ADMIN]

    @property
    def ca(self) -> Path:
        """The certificate (PEM) that a client of this server trusts."""
        return self._directory / "certs" / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig file of the administrator."""
        return self._directory / f"{ADMIN}.kubeconfig"

    def start(self) -> None:
        """Start all, and wait until the API server is ready.

        Raises:
            StartFailed: one of the programs ended or was not ready within `START_TIMEOUT_S`.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            self._write_credentials()
            self._etcd_port = self._launch_on_free_port(self._launch_etcd)
            self._port = self._launch_on_free_port(self._launch_api_server)
            self.kubeconfig_for(self.token, name=ADMIN)
            if self.with_controllers:
                self._launch_controllers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all at once: what they stored goes with their folder, so none of them has anything to finish."""
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()
        self._children.clear()

    @contextmanager
    def away(self) -> Iterator[None]:
        """While this is entered nobody answers at `url`; after it the server is back, with all that it knew."""
        child = self._children["kube-apiserver"]
        child.kill()
        child.wait()
        try:
            yield
        finally:
            self._launch_api_server(self._port)

    def kubeconfig_for(self, token: str, *, name: str) -> Path:
        """Write a kubeconfig file for whoever holds the token."""
        path = self._directory / f"{name.replace(':', '-')}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": name, "user": {"token": token}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def client(self, user: str = ADMIN, *, groups: tuple[str, ...] = ()) -> httpx.Client:
        """A blocking client for a user: with a token of their own, or impersonated by the administrator."""
        return httpx.Client(**self._connection(user, groups))

    def async_client(self, user: str = ADMIN, *, groups: tuple[str, ...] = ()) -> httpx.AsyncClient:
        """As `client`, for asyncio."""
        return httpx.AsyncClient(**self._connection(user, groups))

    def service_account_token(self, namespace: str, name: str) -> str:
        """A token of a service account that exists, good for an hour."""
        with self.client() as kube:
            answer = kube.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", json={"spec": {}})
            answer.raise_for_status()
            return str(answer.json()["status"]["token"])

    def _connection(self, user: str, groups: tuple[str, ...]) -> dict[str, Any]:
        """What an HTTP client of this user is made with."""
        if user in self._tokens and not groups:
            headers = [("Authorization", f"Bearer {self._tokens[user]}")]
        else:
            headers = [("Authorization", f"Bearer {self.token}"), ("Impersonate-User", user)]
            headers += [("Impersonate-Group", group) for group in groups]
        return {
            "base_url": self.url,
            "headers": headers,
            "verify": self._trust(),
            "trust_env": False,
            "timeout": 30,
        }

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def _write_credentials(self) -> None:
        lines = [f'{token},{name},{name},"{USERS[name]}"' for name, token in self._tokens.items()]
        (self._directory / "tokens").write_text("\n".join(lines) + "\n")
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self._directory / "service-accounts.key").write_bytes(pem)

    def _launch_etcd(self, port: int) -> None:
        url = f"http://127.0.0.1:{port}"
        self._launch(
            "etcd",
            f"--data-dir={self._directory / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            "--listen-peer-urls=http://127.0.0.1:0",
        )
        self._wait("etcd", lambda: httpx.get(f"{url}/health", trust_env=False).is_success)

    def _launch_api_server(self, port: int) -> None:
        keys = self._directory / "service-accounts.key"
        self._launch(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--cert-dir={self._directory / 'certs'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self._directory / 'tokens'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys}",
            f"--service-account-signing-key-file={keys}",
            *(() if self.with_controllers else (WITHOUT_CONTROLLERS,)),
        )
        url = f"https://127.0.0.1:{port}/readyz"
        headers = {"Authorization": f"Bearer {self.token}"}
        self._wait(
            "kube-apiserver",
            lambda: (
                self.ca.exists()
                and httpx.get(url, headers=headers, verify=self._trust(), trust_env=False, timeout=5).is_success
            ),
        )

    def _launch_controllers(self) -> None:
        manager = self.kubeconfig_for(self._tokens[CONTROLLER_MANAGER], name=CONTROLLER_MANAGER)
        self._launch(
            "kube-controller-manager",
            f"--kubeconfig={manager}",
            f"--controllers={','.join(CONTROLLERS)}",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self._directory / 'service-accounts.key'}",
            "--leader-elect=false",
            "--node-monitor-period=1s",
            "--node-monitor-grace-period=10s",
            "--secure-port=0",
        )
        scheduler = self.kubeconfig_for(self._tokens[SCHEDULER], name=SCHEDULER)
        self._launch("kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false", "--secure-port=0")

    def _launch(self, name: str, *arguments: str) -> None:
        with self._log(name).open("wb") as sink:
            self._children[name] = subprocess.Popen(
                [str(self._assets / name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which still need the server to clean up
                preexec_fn=end_with_parent(),
            )

    def _launch_on_free_port(self, launch: Callable[[int], None]) -> int:
        for _ in range(_START_ATTEMPTS):
            port = _free_port()
            try:
                launch(port)
            except StartFailed as error:
                if "address already in use" not in str(error):
                    raise
                continue  # somebody was quicker
            return port
        raise OSError(f"no free port in {_PORTS}")

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        child = self._children[name]
        while not _is_true(ready):
            if child.poll() is not None:
                raise StartFailed(name, f"ended with code {child.returncode}", self._log(name))
            if time.monotonic() > deadline:
                raise StartFailed(name, f"not ready within {START_TIMEOUT_S:g} s", self._log(name))
            time.sleep(POLL_S)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


def _is_true(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except (httpx.TransportError, ssl.SSLError):
        return False


def _free_port() -> int:
    while True:
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
