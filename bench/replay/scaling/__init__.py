"""How many workers there should be: our rule, and those that others have."""
