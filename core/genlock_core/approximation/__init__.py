"""Approximation: what a session may run at below its wish, what that costs and what it is worth.

| owns | does not own | needs |
|---|---|---|
| a session's levels, and what each costs and is worth in a pool | which pools serve a session (`sizing`) | nothing |
| how good a level looks by profile, or by a stated prior | the measuring (`genlock_worker.profiling`) | |

Three words. *Requested* is the user's wish. *Granted* is what the claim pays for. *Running* is what the engine makes;
it is never more than either.
"""
