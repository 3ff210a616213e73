"""Kernels of our own, as custom ops of PyTorch that say what they launch. Reached by `--kernels`, never by default.

| owns | does not own | needs |
|---|---|---|
| what is written in Triton, and how it is launched | the pools and the batch that it computes on (`..`) | Triton |

`declared` needs no Triton.
"""
