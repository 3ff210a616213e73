"""Autoscaling: how many workers a pool should have, from what was counted of its sessions. Pure.

| owns | does not own | needs |
|---|---|---|
| who comes and goes (`arrivals`), room for them while a worker starts (`warm`) | what sessions need, who leaves a pool (`plan.pool.scale`) | nothing |
| what costs are corrected by (`correction`), shares of a GPU budget (`budget`) | what a session costs (`genlock_core.sizing`) | |
| the number of workers, with every term and one reason (`recommend`), in sentences (`explain`) | the reading and the doing (`reconcile`) | |

A *slot* is room for one more session of the usual cost. *Start-up* is what a new worker takes until it serves (p95).
"""  # noqa: E501 - a table's row is one line
