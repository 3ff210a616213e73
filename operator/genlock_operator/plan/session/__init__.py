"""What a StreamSession needs next, as a pure function. A plan goes forward only, in the order of this table.

| module | what it says | from what |
|---|---|---|
| `plan` | the order of the questions | what is seen |
| `facts` | whose record it is, where it belongs, whether it has to move | what is seen |
| `ending` | what is left to do once the session is over | the facts |
| `demand` | the room that it waits for | the facts |
| `steps` | what changes the stream next | the facts |
| `why_not` | what keeps it from a worker | the facts |
| `status` | the status as it should be | the facts and what hinders |
| `telling` | the words of its pages, for the same facts | the facts |
| `report` | whether that status is written, and what is told of it | the facts and the status |

The calls that make it so are in `reconcile`; the number of workers is for `plan.pool`. Nothing here needs a cluster,
Redis or a GPU.
"""
