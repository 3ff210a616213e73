"""Approximation: what a session may run at below its wish, what that costs and what it is worth.

| owns | does not own | needs |
|---|---|---|
| a session's levels, and a plan of who runs at which | what a level costs and is worth (`sizing`) | nothing |

Three words. *Requested* is the user's wish. *Granted* is what the claim pays for. *Running* is what the engine makes;
it is never more than either.
"""
