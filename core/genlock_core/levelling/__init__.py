"""Levelling: who decides at which level each session of a pool runs, and how that is carried out.

| owns | does not own | needs |
|---|---|---|
| a session's ladder in a pool, from its record alone | what a level costs and is worth there (`sizing`) | |
| when a pool is planned, by whom, and its limits | the plan (`approximation`), what a limit does (`claims`) | Redis |
| each pool's last plan and number of workers, told in sentences | who may read it (the gateway) | Redis |

Pure are `ladders`, `facts`, `orders`, `book`, `telling` and `scaling`. `shelf`, `told` and `keeper` have the effects.
"""
