"""The part of the chart's `values.schema.json` that mirrors options: what an option refuses, helm refuses before."""

import json
from typing import Any, Final

from genlock_core.process.options import Option, options_of
from genlock_gateway.settings import GatewaySettings
from genlock_operator.settings import OperatorSettings
from genlock_operator.uninstall import UninstallSettings

MIRRORS: Final[tuple[tuple[str, type[Any], str], ...]] = (
    ("image.pullPolicy", OperatorSettings, "worker-image-pull-policy"),
    ("operator.watch.namespaces", OperatorSettings, "namespaces"),
    ("operator.watch.all", OperatorSettings, "all-namespaces"),
    ("operator.watch.nodes", OperatorSettings, "watch-nodes"),
    ("operator.gpuBudget", OperatorSettings, "gpu-budget"),
    ("operator.logFormat", OperatorSettings, "log-format"),
    ("operator.logLevel", OperatorSettings, "log-level"),
    ("gateway.publicUrl", OperatorSettings, "public-url"),
    ("gateway.names", GatewaySettings, "server-name"),
    ("gateway.proxies", GatewaySettings, "proxy"),
    ("gateway.iceServers", GatewaySettings, "ice-server"),
    ("gateway.jwt.issuer", GatewaySettings, "jwt-issuer"),
    ("gateway.jwt.audience", GatewaySettings, "jwt-audience"),
    ("gateway.drainTimeoutSeconds", GatewaySettings, "drain-timeout"),
    ("gateway.logFormat", GatewaySettings, "log-format"),
    ("gateway.logLevel", GatewaySettings, "log-level"),
    ("redis.url", OperatorSettings, "worker-redis"),
    ("uninstall.timeoutSeconds", UninstallSettings, "timeout"),
)
"""A value of the chart, and the option that it becomes."""


def with_options(schema: str) -> str:
    """The schema, with what the options say in its place. Raises KeyError for a value that the chart does not have."""
    values = json.loads(schema)
    for path, settings, name in MIRRORS:
        *folders, last = path.split(".")
        node = values["properties"]
        for folder in folders:
            node = node[folder]["properties"]
        if last not in node:
            raise KeyError(path)
        node[last] = dict(_option(settings, name).kind.schema)
    return json.dumps(values, indent=2) + "\n"


def _option(settings: type[Any], name: str) -> Option[Any]:
    (found,) = [one for one in options_of(settings) if one.name == name]
    return found
