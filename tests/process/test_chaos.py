"""Each kind of harm once under a live stream: all is well again by itself, and nothing older is shown. `make chaos`
does more of it, and counts what it cost."""

import pytest

from bench.chaos.harms import HARMS
from bench.chaos.stage import Stage

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]


async def test_each_kind_of_harm_passes() -> None:
    async with Stage.up("mock", sessions=1, workers=2, sick_s=3.0) as stage:
        for harm in HARMS.values():
            for toll in await stage.suffer(harm.name, harm.strike, moves=harm.moves):
                print(f"{harm.name}: {toll.gap_s:.2f} s")  # noqa: T201 - shown where it fails
                assert toll.back == 0, toll
