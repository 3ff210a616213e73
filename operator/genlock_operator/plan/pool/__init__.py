"""What a WorkerPool needs next, as a pure function: members, scale, rollout, drain, pods, status.

| owns | does not own | needs |
|---|---|---|
| how many workers a pool wants, and which one leaves | the calls that make it so (`reconcile`) | nothing |
| the pod of a worker | which worker a session gets (`plan.session`, `genlock_core.claims`) | |
"""
