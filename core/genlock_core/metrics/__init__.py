"""Every Prometheus metric, each defined once; `docs/metrics.md` is made from here.

A bundle is built on a registry that the caller gives, so that two gateways live in one process in the tests. Names
carry their unit. Labels are bounded: `session` is `namespace/name` of a session that is served right now, and
`drop_session` takes its series away when it ends; `pool` likewise, with `drop_pool`; every other label takes its values
from a fixed set named in the meaning.

`python -m genlock_core.metrics` prints the document.

| owns | does not own | needs |
|---|---|---|
| every metric's name, unit, labels and meaning | when it is counted | nothing |
"""

from genlock_core.metrics.document import document
from genlock_core.metrics.gateway import GatewayMetrics
from genlock_core.metrics.operator import OperatorMetrics
from genlock_core.metrics.worker import WorkerMetrics

__all__ = ["GatewayMetrics", "OperatorMetrics", "WorkerMetrics", "document"]
