"""Each kind of thing that a test may leave open is named, with the line that opened it; what is closed is not."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent

SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

SUITE = '''
import asyncio
import gc
import socket
import ssl
import subprocess
import sys

import pytest
import pytest_asyncio

LOCAL = ("127.0.0.1", 0)


def tls(side):
    """Without certificates: TLS 1.2 with anonymous key exchange."""
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    return context


async def udp_peer():
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, LOCAL)
    return transport


@pytest.fixture
async def tls_connection():
    """A connection to a server that lives as long as the test."""
    async def answer(reader, writer):
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, *LOCAL, ssl=tls(ssl.PROTOCOL_TLS_SERVER))
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls(ssl.PROTOCOL_TLS_CLIENT))
    yield writer
    server.close()


async def child():
    return await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=subprocess.PIPE)


async def test_udp_left_open():
    await udp_peer()


async def test_udp_closed():
    (await udp_peer()).close()


async def test_tls_left_open(tls_connection):
    pass


async def test_tls_closed(tls_connection):
    tls_connection.close()
    await tls_connection.wait_closed()


async def test_process_left_running():
    await child()


async def test_process_ended():
    process = await child()
    await process.communicate(b"bye")


async def test_socket_in_a_circle_left_open():
    circle = [socket.socket()]
    circle.append(circle)
    (await udp_peer()).close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer_of_the_module():
    transport = await udp_peer()
    yield transport
    transport.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_what_the_module_opened_may_stay(peer_of_the_module):
    pass


async def test_last():
    pass
'''


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the run of the suite above says of each test; "" of one that closed all."""
    folder = tmp_path_factory.mktemp("leaking")
    (folder / "test_leaking.py").write_text(SUITE)
    (folder / "pytest.ini").write_text(SETTINGS)
    report = folder / "report.xml"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.leaks", f"--rootdir={folder}", f"--junitxml={report}", folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert report.exists(), run.stdout + run.stderr
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return {case.attrib["name"]: "".join(error.text or "" for error in case) for case in cases}


@pytest.mark.parametrize(
    ("test", "what", "opener"),
    [
        ("test_udp_left_open", "a UDP peer of DatagramProtocol, ('127.0.0.1', ", "(udp_peer)"),
        ("test_tls_left_open", "a TLS connection of StreamReaderProtocol", "(tls_connection)"),
        ("test_process_left_running", "a child process (", "(child)"),
        ("test_process_left_running", "a pipe <", "asyncio"),
        ("test_socket_in_a_circle_left_open", "unclosed <socket.socket", ""),
    ],
)
def test_what_a_test_leaves_open_is_its_error(complaints: dict[str, str], test: str, what: str, opener: str) -> None:
    assert what in complaints[test]
    assert opener in complaints[test]


@pytest.mark.parametrize("test", ["test_udp_closed", "test_tls_closed", "test_process_ended", "test_last"])
def test_what_is_closed_is_no_error(complaints: dict[str, str], test: str) -> None:
    assert not complaints[test]


def test_what_a_wider_scope_opened_may_outlive_the_test(complaints: dict[str, str]) -> None:
    assert not complaints["test_what_the_module_opened_may_stay"]
