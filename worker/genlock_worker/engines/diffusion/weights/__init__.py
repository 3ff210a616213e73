"""Where weights come from: files and their layouts, strict checkpoints, conversion, fetching, random numbers.

| owns | does not own | needs |
|---|---|---|
| which files a model has, and whether they are right | the networks that they fill (`../network`) | torch to load |
"""
