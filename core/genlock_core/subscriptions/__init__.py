"""Who gets which frames of a session: beside the claim, which says who makes them.

| owns | does not own | needs |
|---|---|---|
| what a subscription says, and how it follows its session | the words on the wire (`link`) | nothing |
| who is subscribed to one thing, at which rate, and until when | pictures and codecs (the worker) | |
| the latest frame of a subscriber, whatever came before it | who may subscribe (the gateway's access rules) | |

Everything here is pure: time is told, nothing is sent. Two kinds of subscription are served today. A gateway's channel
is a subscription to the encoded output (`link.messages.Open`), a preview one to generated pictures (`preview`).
"""
