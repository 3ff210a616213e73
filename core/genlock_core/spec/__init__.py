"""What a user asks for: the StreamSession manifest, its defaults and its schema.

| owns | does not own | needs |
|---|---|---|
| every field of a manifest with its default and its bounds | what becomes of a session (`claims`) | nothing |
| the rules that the API server, the gateway and the models share (`rules`) | the form of the CRDs (`crds`) | |
"""
