"""What Kubernetes asks a worker: started, ready, alive; and the figures of its start.

| owns | does not own | needs |
|---|---|---|
| when a worker counts as hung | the restart (the kubelet's, or `genlock up`'s) | a TCP port |
"""
