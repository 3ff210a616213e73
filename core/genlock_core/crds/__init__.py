"""The custom resources as Kubernetes and readers see them: schemas, rules and reference pages, made from the models.

| owns | does not own | needs |
|---|---|---|
| the CRDs of all three kinds, and their field reference in `docs` | the models (`spec`, `sizing.profile`) | nothing |
"""
