"""`genlock doctor`: what this machine lacks for `genlock up`, and what to type about it.

| owns | does not own | needs |
|---|---|---|
| what is looked at, and what is said of it | the rules of ports, Redis, weights, addresses | nothing |

`facts` looks at the machine and judges nothing; `checks` judges and looks at nothing; `command` shows both.
"""
