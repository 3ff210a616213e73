"""What a StreamSession needs next, as a pure function: its demand, its actions, its status, and why it has no worker.

| owns | does not own | needs |
|---|---|---|
| when a session is placed, moved, steered or ended | the calls that make it so (`reconcile`) | nothing |
| what its status says | the number of workers (`plan.pool`) | |
"""
