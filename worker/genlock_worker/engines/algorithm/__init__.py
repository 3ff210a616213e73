"""The parts of StreamDiffusionV2 that every engine shares, on NumPy and plain numbers: flow, noise, blend, ring.

| owns | does not own | needs |
|---|---|---|
| the schedule, motion-aware noise, the rolling window | tensors of a device (`../diffusion`) | nothing |
"""
