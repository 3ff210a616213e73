"""Levelling: from what the claims know to a plan of a pool's levels.

| owns | does not own | needs |
|---|---|---|
| a session's ladder in a pool, from its record alone | what a level costs and is worth there (`sizing`) | nothing |
"""
