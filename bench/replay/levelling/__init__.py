"""Who runs at which level: our plan, and what others do."""
