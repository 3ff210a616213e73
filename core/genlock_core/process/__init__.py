"""What every process of Genlock does alike: keep and end its tasks, answer probes, heed signals.

| owns | does not own | needs |
|---|---|---|
| how tasks end; what a signal means; probes over HTTP | who is alive, who is ready | nothing but Python |
"""
