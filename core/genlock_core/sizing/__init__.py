"""Sizing: measured profiles of models, and the cheapest placement of a session that meets its service levels.

| owns | does not own | needs |
|---|---|---|
| which pools serve a session in time, and its cost in each | which worker of a pool it gets (`claims`) | nothing |
| the profiles that come with Genlock, and the form of measured ones | the measuring (`genlock_worker.profiling`) | |
"""
