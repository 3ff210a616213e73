"""Who owns which session: workers, capacity, claims, leases, epochs and moves, in Redis under the tag `{genlock}`."""
