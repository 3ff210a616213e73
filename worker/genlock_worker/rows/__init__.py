"""Rows of all sessions through one engine: which may run, which share a forward, on the engine's one thread.

| owns | does not own | needs |
|---|---|---|
| chunks that wait and chunks in flight, their steps | the ways in and out (`intake`, `output`) | an engine |
| the learned cost of a micro-step | the model (`engines`) | |
| checkpoints to go on from | where they are stored (`snapshots`) | |
"""
