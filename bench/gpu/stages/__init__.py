"""The stages of a run, best first: what comes early is worth most if the run is cut off.

Each module has a `run(task, report, budget)`: it notes a line for each measurement, asks the budget between two, and
lets `Report.attempt` take what goes wrong with one way to run the engine, so that the others are tried.

| stage | says | needs |
|---|---|---|
| `machine` | what the card and the encoder can do | |
| `parity` | whether the figures are right, so that their speed means something | the recordings of the tests |
| `syncs` | whether the host waits for the device inside a forward | |
| `kernels` | whether our own kernels are right, and launch what they declare | a GPU that they run on |
| `graphs` | whether replayed forwards give what plain ones give, and what they save | the same |
| `rows` | what a forward costs by rows, and its launches | |
| `attention`, `vae` | the two parts that take most of it | |
| `streams` | frames per second of the whole engine, as profile rows | |
| `profile` | which kernels take the time | |
| `restore` | what a snapshot and its restoration take | |
| `large` | the large model's forwards | 28 GB of the card's memory |
"""
