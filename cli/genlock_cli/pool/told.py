"""What a gateway tells of one pool: its levels and how many workers it should have come in one answer."""

from pathlib import Path
from typing import Any

from genlock_cli.api import GatewayApi
from genlock_cli.target import Target


def told_of(pool: str, *, gateway: str | None, token: str | None, state_dir: Path | None) -> dict[str, Any]:
    """All of it, as JSON has it. Raises what `Target.find` and `GatewayApi.pool` raise."""
    target = Target.find(gateway=gateway, token=token, state_dir=state_dir)
    with GatewayApi(target.gateway, target.admin_token()) as api:
        return api.pool(pool)
