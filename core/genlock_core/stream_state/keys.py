"""The keys of a session's data in Redis: all with the tag `{<namespace>/<name>}`, so a script stays in one slot."""


def control(session: str) -> str:
    """The control stream."""
    return _key(session, "control")


def control_ids(session: str) -> str:
    """Hash `client:number` -> id of the entry that it became."""
    return _key(session, "control:ids")


def control_recent(session: str) -> str:
    """Sorted set of the same names by time, to forget the oldest."""
    return _key(session, "control:recent")


def fence(session: str) -> str:
    """The epoch of the owner that may write the snapshot."""
    return _key(session, "fence")


def snapshot_meta(session: str) -> str:
    """Hash with the snapshot's epoch, chunk, head and size."""
    return _key(session, "snapshot:meta")


def snapshot_frames(session: str) -> str:
    """Hash block id -> block."""
    return _key(session, "snapshot:frames")


def _key(session: str, name: str) -> str:
    if "{" in session or "}" in session:
        raise ValueError(f"{session!r} is not the name of a session")
    return f"genlock:{{{session}}}:{name}"
