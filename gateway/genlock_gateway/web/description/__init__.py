"""What `/openapi.json` says of this gateway, so that a program can be written from it alone.

| owns | does not own | needs |
|---|---|---|
| a row for each operation: who may, what goes in, what comes out | the routes (`web`, `web.signalling`) | nothing |
| the schemas of the messages of the data channel and of the events | who makes them (`sessions`) | |

The framework knows the paths, the models of JSON answers and the docstrings. The rest is said in the tables here.
"""
