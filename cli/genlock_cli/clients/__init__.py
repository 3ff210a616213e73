"""WHIP and WHEP clients, as real as any other: they know nothing of the gateway but its address.

| owns | does not own | needs |
|---|---|---|
| WHIP and WHEP clients with their own peers | the files that they send and write (`publish`, `record`) | a gateway |
"""
