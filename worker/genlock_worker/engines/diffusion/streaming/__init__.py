"""Live sessions: rows and their rings, chunks in flight, positions, sinks, one micro-step, snapshot and restore.

| owns | does not own | needs |
|---|---|---|
| the state of each session, and how it is stored and rebuilt | how a forward runs (`../execution`) | torch |
"""
