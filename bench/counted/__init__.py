"""What the engine asks of a GPU, counted where none is: kernels, bytes and operations, on tensors without memory.

The engine's own code runs at its true size on the `meta` device, where nothing is computed. A mode of torch's
dispatcher sees every operation, and a rule for each says how many kernels CUDA runs for it and what they move.

| module | says |
|---|---|
| `cost` | what one operation costs, and many together |
| `rules` | the rule for each operation; one that has none is an error |
| `counter` | the mode that counts |
| `subjects` | what is counted: a forward, a micro-step, a chunk of the VAE |
| `roofline` | what a card would need at least, derived from the counts |
"""
