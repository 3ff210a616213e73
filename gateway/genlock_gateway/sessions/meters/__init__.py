"""What is measured of one session at this gateway, each concept in a module: `SessionStats` tells them of the moments.

| owns | does not own | needs |
|---|---|---|
| the legs of the first frame and of a recovery; how it plays | what counts as a stall (`genlock_core.slo`) | nothing |
"""
