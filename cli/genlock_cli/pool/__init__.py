"""`genlock pool` and `genlock autoscale`: what whoever runs an installation asks of its pools.

| owns | does not own | needs |
|---|---|---|
| how a pool is shown and explained | why it stands so (a gateway tells it) | |
"""
