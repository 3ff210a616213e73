"""What a gateway tells the installation of the sessions that live here: the short form of their reports."""

from genlock_core.claims.figure_board import PostedFigures
from genlock_core.slo.report import StreamReport


def figures_of(report: StreamReport, *, publisher: bool) -> PostedFigures:
    """The figures for the board; `publisher`: the session is published through this gateway."""
    return PostedFigures(
        viewers=report.viewers or 0,
        publisher=publisher,
        steps=report.steps,
        output_fps=report.output_fps,
        miss_share=report.miss_share,
        first_frame_ms=report.first_frame_ms,
        latency_ms=None if report.latency_ms is None else report.latency_ms.p50,
        freezes=report.freezes or 0,
        last_recovery_gap_ms=report.last_recovery_gap_ms,
    )
