"""How forwards are run: plain, compiled, as CUDA graphs, with 8-bit weights; and the check that nothing waits."""
