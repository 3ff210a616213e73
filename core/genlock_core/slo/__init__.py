"""The service levels of a stream: what is measured, between which moments, and when a level is missed.

| owns | does not own | needs |
|---|---|---|
| when a frame is due; what a miss, a freeze, a stall, a recovery gap are; broken budgets | the moments | nothing |
"""
