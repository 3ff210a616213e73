"""What a session leaves in Redis so that another worker can go on: its control stream, its snapshot and the fence."""
