"""What probes and Prometheus ask: alive, ready, figures. On the event loop of everything else: one that does not turn
fails its probes.

With `--health` they have a port and connections of their own, where no stranger takes their place. The public port then
still says whether the gateway is alive and ready, as load balancers ask there; its figures are nobody's business.
"""

from fastapi import APIRouter, FastAPI, Response

from genlock_core.process.probes import Answer, exposition, verdict
from genlock_gateway.access.problems import Problem, answer_problems
from genlock_gateway.gateway import Gateway


def create_health_app(gateway: Gateway) -> FastAPI:
    """What is answered at `--health`, and nothing else."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router(gateway, private=True))
    answer_problems(app)
    return app


def router(gateway: Gateway, *, private: bool = False) -> APIRouter:
    """/healthz, /readyz, /metrics. `private`: at the port that is theirs alone."""
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
        """Prometheus' text format. At `--health` where the gateway has that, and only there."""
        if gateway.settings.health is not None and not private:
            raise Problem(404, "figures are told at the private port of this gateway (--health)")
        return _response(exposition(gateway.metrics.registry))

    return routes


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, media_type=answer.media_type)
