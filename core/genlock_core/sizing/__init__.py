"""Sizing: measured profiles of models, and the cheapest placement of a session that meets its service levels.

| owns | does not own | needs |
|---|---|---|
| which pools serve a session in time | which worker of a pool it gets (`claims`) | nothing |
| what each level of a session costs and is worth in a pool | at which level it runs (`levelling`) | |
| the profiles that come with Genlock, and the form of measured ones | the measuring (`genlock_worker.profiling`) | |
"""
