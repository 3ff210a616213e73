"""All the clients that are tried, each going each way that it can."""

from tests.clients import chromium, firefox, native
from tests.clients.laboratory import Client

CLIENTS: tuple[Client, ...] = (*chromium.CLIENTS, *firefox.CLIENTS, *native.CLIENTS)
