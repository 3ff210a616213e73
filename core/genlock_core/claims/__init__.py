"""Who owns which session: workers, capacity, claims, leases, epochs and moves, in Redis under the tag `{genlock}`.

| owns | does not own | needs |
|---|---|---|
| which worker has a session, under which epoch, for how long | its controls, its snapshot (`stream_state`) | Redis |
| when a worker counts as dead (`rules`, `scripts/expire.lua`) | when a gateway asks (`sessions.upstream`) | |
| who publishes, and which gateways there are (`publisher`) | frames | |
"""
