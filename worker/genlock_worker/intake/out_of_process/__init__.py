"""Decoding in a process of its own, so that a fault of libavcodec ends one session's input and not a worker.

    worker ── decoder.py ──── socket, memfd ────► a decoder's process (child.py)
      │                                              ▲ forks
      └───── nursery.py ──────── socket ─────► the nursery's process (nursery_process.py)

| module | process | owns | does not own |
|---|---|---|---|
| `wire` | both ends | what is asked and answered, as bytes | when |
| `nursery_process`, `warm_up` | the nursery | what decoding needs, imported and tried; one spare decoder | sessions |
| `child`, `limits` | a decoder | one `decode.Decoder`, and what its process may not do | which units it gets |
| `nursery` | the worker | the nursery's life | a decoder that it has given out |
| `process` | the worker | one decoder's process: its deadline and its end | what it is asked |
| `decoder`, `back_off` | the worker | a publication's decoder, whichever process it has now | pictures |

None of it needs a GPU, Redis or a network. It needs Linux (memfd, pidfd, PR_SET_PDEATHSIG).
"""
