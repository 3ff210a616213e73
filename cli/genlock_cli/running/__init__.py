"""What runs here: `genlock status`, `logs`, `open` and `down`, from another terminal than that of `genlock up`.

| owns | does not own | needs |
|---|---|---|
| how a running `genlock up` is shown, opened and stopped | what runs, and how it is started (`up`) | nothing |
| | where it is found (`ups`, `target`) | |
"""
