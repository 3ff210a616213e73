"""Where the API server is and who we are there: the pod's service account, or a kubeconfig outside a cluster.

Both clients, ours and kopf's, are told the same.
"""

from pathlib import Path

import kopf
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from genlock_core.errors import GenlockError

CONNECTIONS = 64


class NoCluster(GenlockError):
    """There is no way to the API server: neither a service account nor a kubeconfig that can be read."""


async def load(kubeconfig: Path | None) -> Configuration:
    """The configuration of `kubernetes.aio`. Raises NoCluster."""
    configuration = Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                str(kubeconfig), client_configuration=configuration, persist_config=False
            )
    except (config.ConfigException, OSError) as error:
        hint = "run in a pod with a service account, or give --kubeconfig"
        raise NoCluster(f"no access to a cluster: {error}; {hint}") from error
    configuration.connection_pool_maxsize = CONNECTIONS
    return configuration


async def for_kopf(configuration: Configuration) -> kopf.ConnectionInfo:
    """The same for kopf, with the token of this moment: kopf asks again when it is refused."""
    bearer = await configuration.get_api_key_with_prefix("BearerToken") or ""
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme="Bearer" if bearer else None,
        token=bearer.split(" ", 1)[-1].strip() or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
