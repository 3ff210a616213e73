"""The gateway: WHIP in, WHEP out, control and pages; it moves a session to another worker without renegotiation."""
