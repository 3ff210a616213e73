"""What to do: pure functions from what was observed to actions. No I/O, no clock of their own.

| owns | does not own | needs |
|---|---|---|
| every decision about a session and a pool | what is seen (`observed`), what is done (`reconcile`) | nothing |
"""
