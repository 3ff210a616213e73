"""What a user asks for: the StreamSession manifest, its defaults and its schema."""
