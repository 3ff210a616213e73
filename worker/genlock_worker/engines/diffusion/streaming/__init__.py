"""Live sessions: rows and their rings, chunks in flight, positions, sinks, one micro-step, rings rebuilt.

| owns | does not own | needs |
|---|---|---|
| the state of each session, its rings rebuilt | a forward (`../execution`), what is stored (`../snapshots`) | torch |
"""
