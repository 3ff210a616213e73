"""`genlock up`: Redis, workers and gateways as child processes of one terminal, and a table of how they do."""
