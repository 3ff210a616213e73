"""Where weights come from: files and their layouts, strict checkpoints, conversion, fetching, random numbers."""
