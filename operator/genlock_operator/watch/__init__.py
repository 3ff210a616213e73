"""kopf: what the API server says, as facts.

| owns | does not own | needs |
|---|---|---|
| the caches of what the API server has | what it means (`plan`) | the API server |
"""
