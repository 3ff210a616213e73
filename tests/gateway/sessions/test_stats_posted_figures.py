"""What a gateway posts to the board of figures: of what lives here, and nothing once it has gone."""

from genlock_core.claims.figure_board import FigureBoard, PostedFigures
from genlock_core.media import Trouble
from genlock_core.slo.burn import MissShares
from genlock_core.slo.report import Percentiles, StreamReport
from genlock_gateway.sessions.stats import posted_figures
from tests.gateway.installation import Installation, more_pictures, until


def test_figures_are_those_of_the_report() -> None:
    report = StreamReport(
        steps=2, output_fps=15.9, miss_share=0.01, first_frame_ms=310.0, viewers=3, freezes=1,
        last_recovery_gap_ms=420.0, latency_ms=Percentiles(p50=240.0, p99=390.0),
    )  # fmt: skip
    posted = posted_figures(
        report, publisher=True, trouble=Trouble.NO_KEY_FRAME, late_share=0.2, miss_shares=MissShares(0.03, 0.02)
    )
    assert posted == PostedFigures(
        viewers=3, publisher=True, steps=2, output_fps=15.9, miss_share=0.01, late_share=0.2, first_frame_ms=310.0,
        miss_share_short=0.03, miss_share_long=0.02, latency_ms=240.0, freezes=1, last_recovery_gap_ms=420.0,
        trouble="no-key-frame",
    )  # fmt: skip


def test_what_is_not_measured_is_not_told() -> None:
    posted = posted_figures(StreamReport(), publisher=False, trouble=None, late_share=None, miss_shares=None)
    assert posted == PostedFigures()


async def test_a_gateway_posts_what_lives_here_and_takes_it_back_when_it_stops(installation: Installation) -> None:
    gateway, _ = await installation.gateway(), await installation.worker()
    await installation.session()
    await installation.session("nobody-there")
    viewer, _ = await installation.view(gateway), await installation.publish(gateway)
    await more_pictures(viewer)
    board = FigureBoard(installation.store)
    await gateway.gateway.maintenance.post_figures()
    posted = await board.read()
    assert set(posted) == {"default/demo"}
    assert (posted["default/demo"].viewers, posted["default/demo"].publisher) == (1, True)
    await gateway.http.delete(viewer.location)
    stream = gateway.gateway.hub.find("default/demo")
    assert stream is not None
    await until(lambda: not stream.audience.viewers)
    await gateway.gateway.maintenance.post_figures()
    assert (await board.read())["default/demo"].viewers == 0
    await gateway.stop()
    assert await board.read() == {}
