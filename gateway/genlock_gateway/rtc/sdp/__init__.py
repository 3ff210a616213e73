"""What peers agree on: offers, answers, candidates and trickled fragments, as values.

| owns | does not own | needs |
|---|---|---|
| which offers are refused, and in which words | sockets and peers (`../transport`) | nothing |
| which codec and payload types an answer names | HTTP (`web.signalling`) | |
"""
