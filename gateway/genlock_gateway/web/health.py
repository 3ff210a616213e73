"""What probes and Prometheus ask: alive, ready, figures. On the port of everything else, so that an event loop that
does not turn fails its probes."""

from fastapi import APIRouter, Response

from genlock_core.process.probes import Answer, exposition, verdict
from genlock_gateway.gateway import Gateway


def router(gateway: Gateway) -> APIRouter:
    """/healthz, /readyz, /metrics."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz")
    async def healthz() -> Response:
        """200 while the event loop turns and every maintenance loop comes round; that it answers is half of it."""
        stuck = gateway.maintenance.stuck()
        return _response(verdict(f"stuck: {', '.join(stuck)}" if stuck else "", fine="ok"))

    @routes.get("/readyz")
    async def readyz() -> Response:
        """200 while new clients are welcome: not draining, and Redis answers."""
        return _response(verdict(await gateway.ready(), fine="ready"))

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Prometheus' text format."""
        return _response(exposition(gateway.metrics.registry))

    return routes


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, media_type=answer.media_type)
