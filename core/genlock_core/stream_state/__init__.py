"""What a session leaves in Redis so that another worker can go on: its control stream, its snapshot and the fence.

| owns | does not own | needs |
|---|---|---|
| what is stored of a session, in which format, and who may write it | who owns the session (`claims`) | Redis |
| the order of control changes | what the engine makes of them | |
"""
