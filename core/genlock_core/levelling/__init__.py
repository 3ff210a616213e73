"""Levelling: who decides at which level each session of a pool runs, and how that is carried out.

| owns | does not own | needs |
|---|---|---|
| a session's ladder in a pool, from its record alone | what a level costs and is worth there (`sizing`) | |
| when a pool is planned, by whom, and its limits | the plan (`approximation`), what a limit does (`claims`) | Redis |
| the last plan of each pool, told in sentences | who may read it (the gateway) | Redis |

Pure are `ladders`, `facts`, `orders`, `book` and `telling`. `shelf`, `told` and `keeper` have the effects.
"""
