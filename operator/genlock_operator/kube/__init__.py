"""The edge to Kubernetes: a small port, its adapter, events and the lease.

| owns | does not own | needs |
|---|---|---|
| requests to the API server, Events, the Lease | what is asked (`reconcile`), who leads (`leader`) | the API server |
"""
