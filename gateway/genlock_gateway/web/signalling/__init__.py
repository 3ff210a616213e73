"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-04): HTTP in, peer connections out.

| owns | does not own | needs |
|---|---|---|
| requests and answers of WHIP and WHEP | what an offer says (`rtc.sdp`), who may enter (`access`) | Redis |
"""
