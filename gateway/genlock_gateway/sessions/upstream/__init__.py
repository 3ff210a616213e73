"""A stream's way to its worker: the claim, the link, the channel, and the move to another worker.

| owns | does not own | needs |
|---|---|---|
| when this gateway moves a session (`mover`, pure) | who gets a claim (`genlock_core.claims`) | Redis, a link |
| the channel that is open for a session now (`worker`) | what is done with its frames (`sessions`) | |
"""
