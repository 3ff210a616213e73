"""How many descriptors this process may have: each connection takes one, and other things need some as well."""

import resource
from typing import Final

WANTED: Final = 65_536
MOST_KEPT_FREE: Final = 512
"""For Redis, for links to workers, for media, for probes."""


def take_descriptors() -> int:
    """Let this process have as many descriptors as the system allows, and say how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return WANTED if soft == resource.RLIM_INFINITY else soft


def connections_within(descriptors: int) -> int:
    """So many connections leave enough descriptors for everything else."""
    return max(1, descriptors - min(MOST_KEPT_FREE, descriptors // 2))
