"""WHIP and WHEP clients, as real as any other: they know nothing of the gateway but its address."""
