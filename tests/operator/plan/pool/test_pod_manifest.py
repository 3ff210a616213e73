"""The manifests that reach the API server, word for word: it drops a field that it does not know, and says nothing."""

from pathlib import Path

import pytest
import yaml

from genlock_operator.plan.pool.pods import placeholder_pod, worker_pod
from tests.operator.plan.pool_world import DEFAULTS, pool_spec, resource_of

HERE = Path(__file__).parent
POOL = resource_of(pool_spec(template={"media": "clips", "weights": {"claim": "wan"}, "env": {"TZ": "UTC"}}))


@pytest.mark.parametrize("role", ["worker", "placeholder"])
def test_a_pod_is_the_manifest_that_a_person_has_read(role: str) -> None:
    """A change of a manifest, and of the revision in its name, which replaces every worker there is, is read here."""
    made = worker_pod(POOL, 0, DEFAULTS) if role == "worker" else placeholder_pod(POOL, 0, DEFAULTS)
    assert made == yaml.safe_load((HERE / f"{role}_pod.yaml").read_text())
