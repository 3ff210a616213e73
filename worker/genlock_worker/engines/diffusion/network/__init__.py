"""The networks: transformer, VAE, text encoder, and the caches that attention reads; no state of any session.

| owns | does not own | needs |
|---|---|---|
| layers, and what they read and write | whose rows they are (`../streaming`) | torch |
"""
