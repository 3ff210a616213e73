"""The HTTP edge: what every connection and every request passes before anything of the product sees it.

| owns | does not own | needs |
|---|---|---|
| which connections there are, how long, who gives way (`connections`) | what a request may do (`access`) | nothing |
| how they are taken and ended (`acceptor`, `protocol`, `watch`) | how often an address may ask (`access.limits`) | |
| the names under which this gateway answers (`names`, `entrance`) | what is served where (`web.ports`) | |
| whose a request is: peer, named proxies, address groups (`addresses`, `forwarded`) | | |
"""
