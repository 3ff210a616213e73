"""Which sessions this worker has: registration, leases, claims, drain, and the door that gateways come in by.

| owns | does not own | needs |
|---|---|---|
| the worker's row in Redis, renewed while the engine makes progress | what a session does (`session`) | Redis |
| the live sessions of this worker, by name and epoch | who gives and takes them (`genlock_core.claims`) | a TCP port |
"""
