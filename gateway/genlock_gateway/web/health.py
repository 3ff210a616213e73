"""What probes and Prometheus ask: alive, ready, figures."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from genlock_gateway.gateway import Gateway


def router(gateway: Gateway) -> APIRouter:
    """/healthz, /readyz, /metrics."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz")
    async def healthz() -> Response:
        """200 while the event loop turns and every maintenance loop comes round; that it answers is half of it."""
        stuck = gateway.maintenance.stuck()
        if stuck:
            return Response(f"stuck: {', '.join(stuck)}\n", 503, media_type="text/plain")
        return Response("ok\n", media_type="text/plain")

    @routes.get("/readyz")
    async def readyz() -> Response:
        """200 while new clients are welcome: not draining, and Redis answers."""
        why_not = await gateway.ready()
        return Response(f"{why_not or 'ready'}\n", 503 if why_not else 200, media_type="text/plain")

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(generate_latest(gateway.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return routes
