"""What is true of the diffusion engine on a GPU: a folder that is packed here and run where the GPU is.

`make gpu` packs it (`pack`) and runs it where there is a CUDA device; `make gpu-dry` tries all of it on a CPU with the
`tiny` model. The stages come in order of worth, so that a run that is cut off has given what matters most. This package
imports nothing but the standard library until a stage runs: `unpack` works before the libraries are there.

| owns | does not own | needs |
|---|---|---|
| what is packed (`sources`, `wheels`, `pack`, `unpack`) | the recordings (they are the tests') | a package index |
| what is measured (`task`, `subject`, `stages`, `replay`) | how streams are (`genlock_worker.profiling`) | torch |
| what is kept of a run (`report`, `receipt`) | sizing by the profile rows (`genlock_core.sizing`) | |
"""
