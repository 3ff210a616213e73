"""StreamDiffusionV2 in PyTorch: a causal Wan 2.1 that repaints many live streams at once.

Importing this package imports torch; the parts that need none (`config`) are imported by themselves.

| owns | does not own | needs |
|---|---|---|
| the model, its sessions' state, its memory | which rows share a forward (`rows`) | torch; a GPU for speed |
"""
