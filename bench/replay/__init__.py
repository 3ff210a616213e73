"""A replay of days of load: what scalers and policies of levels turn away, pay for and make coarser.

| owns | does not own |
|---|---|
| `traces`, `workload`: who comes when, for how long, with what kind of prompt | the traces: read where they lie |
| `fleet`: claims, workers that start and leave, and what is measured | the scripts of claims, which run in Redis |
| `scaling`: how many workers, by our rule and by others | `recommend` (`genlock_operator.autoscale`) |
| `levelling`: who runs at which level, by our plan and by others | `allocate` (`genlock_core.approximation`) |
| `simulation`: one run, from event to event | time: the clock is the events' own |
| `study`, `report`, `aims`: which runs, and what they come to | the page (`bench.page`) |

It needs scipy for two of the policies. There is no public trace of live generative video: what is replayed are requests
to other services, as sessions that come.
"""
