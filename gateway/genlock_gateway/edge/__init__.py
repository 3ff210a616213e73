"""The HTTP edge: what every connection and every request passes before anything of the product sees it.

| owns | does not own | needs |
|---|---|---|
| the names under which this gateway answers | what a request may do (`access`) | nothing |
| whose a request is: peer, named proxies, address groups | how often an address may ask (`access.limits`) | |
"""
