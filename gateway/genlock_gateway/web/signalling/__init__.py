"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03): HTTP in, peer connections out."""
