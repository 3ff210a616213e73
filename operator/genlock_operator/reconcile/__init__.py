"""The loops between observing and acting: a queue of keys, one reconciliation at a time per key."""
