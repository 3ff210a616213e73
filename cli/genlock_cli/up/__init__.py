"""`genlock up`: Redis, workers and gateways as child processes of one terminal, and a table of how they do.

| owns | does not own | needs |
|---|---|---|
| which child processes run here, on which ports, and what is shown of them | what a worker or a gateway does | Redis |
| the local sessions' first manifests | sizing and claims (`genlock_core`) | |
"""
