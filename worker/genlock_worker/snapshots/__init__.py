"""A session's state on its way to Redis and back: what is written after each chunk, in which format.

| owns | does not own | needs |
|---|---|---|
| when a checkpoint is written, which blocks are new | the format (`genlock_core.stream_state`) | Redis |
"""
