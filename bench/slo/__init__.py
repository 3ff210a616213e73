"""Which rows go first, and how many share a forward: policies of the scheduler side by side, in simulated time.

| module | says |
|---|---|
| `card` | what a forward, an encoding and a decoding take on a true-size card: derived from counts |
| `workload` | who comes when, for how long, with how many steps: at random, or from the made-up trace `arrivals.csv` |
| `policies` | what is compared: orders of rows, with and without the knee |
| `simulation` | one run: the production's `next_batch`, rows, cost model and pacer over a card of simulated time |
| `outcome` | what a run comes to, and several runs |

It needs no GPU. Sessions come whatever becomes of those before them (an open loop); a card that has its load turns them
away. None of them gives way, so that what is seen is the scheduler's alone.
"""
