"""One live session on this worker: opened, steered, reported on, handed over, closed.

| owns | does not own | needs |
|---|---|---|
| the life of a session under one epoch | whether this worker may have it (`ownership`) | Redis |
| what its users ask for now (`controls`) | how its rows are run (`rows`) | |
| its channels to gateways | the connection below them (`genlock_core.link`) | |
"""
