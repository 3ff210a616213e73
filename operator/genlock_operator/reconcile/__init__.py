"""The loops between observing and acting: a queue of keys, one reconciliation at a time per key.

| owns | does not own | needs |
|---|---|---|
| when a key is worked on, and how its plan is carried out | what the plan says (`plan`) | Redis, the API server |
| what is heard of Redis: events, workers, figures | what is heard of the API server (`watch`) | |
"""
