"""How forwards are run: plain, compiled, as CUDA graphs, with 8-bit weights.

| owns | does not own | needs |
|---|---|---|
| how one forward is launched | what a forward computes (`../network`) | torch; a GPU for graphs and FP8 |
"""
