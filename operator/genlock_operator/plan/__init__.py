"""What to do: pure functions from what was observed to actions. No I/O, no clock of their own."""
