"""The service levels of a stream: what is measured, between which moments, and what counts as a miss or a freeze.

| owns | does not own | needs |
|---|---|---|
| when a frame is due; what a miss, a freeze, a recovery gap are | the moments: others tell them | nothing |
"""
