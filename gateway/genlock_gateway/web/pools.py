"""The pools, for who runs the installation: how they stand, and why each session runs at the level that it has.

It is read from what whoever decides has told, so it needs no Kubernetes. It names sessions of everybody: it takes an
admin token.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, Field

from genlock_core.claims.facts import WorkerState, WorkerView
from genlock_core.levelling.scaling import ScalingTold
from genlock_core.levelling.telling import LevelsTold
from genlock_gateway.access.problems import Problem
from genlock_gateway.gateway import STORE_TIMEOUT_S, Gateway
from genlock_gateway.sessions.session_view import SessionView


class _Told(BaseModel):
    model_config = SessionView.model_config


class LevelsView(_Told):
    """How the levels of a pool stand."""

    at: AwareDatetime = Field(description="When that was so.")
    by: str = Field(description="Who decides: the operator, or a gateway.")
    below: int = Field(description="Sessions that run below what they ask for.")
    waiting: int = Field(description="Sessions that wait for room.")
    quality: float = Field(description="Of all sessions together; one at the most steps of its model counts 1.")
    gap: float = Field(description="The share of the best possible quality that is missing, 0 to 1.")

    @classmethod
    def of(cls, told: LevelsTold) -> "LevelsView":
        return cls(
            at=datetime.fromtimestamp(told.at_ms / 1_000, UTC),
            by=told.by,
            below=told.below,
            waiting=told.waiting,
            quality=told.quality,
            gap=told.gap,
        )


class AutoscalingView(_Told):
    """How the number of workers comes about."""

    at: AwareDatetime = Field(description="When that was so.")
    mode: str = Field(description="SLO, External or Recommend, as in the pool's spec.")
    desired: int = Field(description="Workers that there should be; with External and Recommend only shown.")
    reason: str = Field(description="The term that decides, such as Arrivals or Maximum.")
    terms: dict[str, int | None] = Field(description="Workers by term; null: there is no such bound.")
    speed: float = Field(description="Of its workers over what was profiled; what sessions pay is divided by it.")
    explanation: list[str] = Field(description="The same in sentences.")

    @classmethod
    def of(cls, told: ScalingTold) -> "AutoscalingView":
        return cls(
            at=datetime.fromtimestamp(told.at_ms / 1_000, UTC),
            mode=told.mode,
            desired=told.desired,
            reason=told.reason,
            terms=dict(told.terms),
            speed=told.speed,
            explanation=list(told.sentences),
        )


class PoolSummary(_Told):
    """A pool that has workers."""

    name: str
    workers: int
    ready: int = Field(description="Workers that take sessions.")
    sessions: int = Field(description="Sessions that have a worker here.")
    capacity: int = Field(description="Of all workers, in thousandths of one.")
    free: int = Field(description="What no session pays for.")
    levels: LevelsView | None = Field(description="Null while nobody decides.")


class PoolView(PoolSummary):
    """A pool with all that is told of it."""

    explanation: list[str] = Field(description="Why each session runs at the level that it has, in sentences.")
    left_out: int = Field(description="Sentences that are too many to be told.")
    autoscaling: AutoscalingView | None = Field(description="Null while no operator says how many workers there are.")


def router(gateway: Gateway) -> APIRouter:
    """Everything below /api/v1/pools."""
    routes = APIRouter(prefix="/api/v1/pools", tags=["pools"])

    @routes.get("")
    async def list_pools(request: Request) -> list[PoolSummary]:
        """The pools that have workers."""
        gateway.access.require_admin(request)
        async with asyncio.timeout(STORE_TIMEOUT_S):
            by_pool: dict[str, list[WorkerView]] = {}
            for view in await gateway.reads.claims.workers():
                by_pool.setdefault(view.pool, []).append(view)
            return [
                _summary(pool, views, await gateway.reads.told.levels(pool)) for pool, views in sorted(by_pool.items())
            ]

    @routes.get("/{pool:path}")
    async def show_pool(request: Request, pool: str) -> PoolView:
        """One pool, with the reasons for its sessions' levels and for how many workers it has."""
        gateway.access.require_admin(request)
        async with asyncio.timeout(STORE_TIMEOUT_S):
            views = [view for view in await gateway.reads.claims.workers() if view.pool == pool]
            scaling = await gateway.reads.told.scaling(pool)
            if not views and scaling is None:
                raise Problem(404, f"no worker of a pool {pool[:128]} is there; `genlock pool list` names the pools")
            told = await gateway.reads.told.levels(pool)
        return PoolView(
            **dict(_summary(pool, views, told)),
            explanation=[] if told is None else list(told.sentences),
            left_out=0 if told is None else told.left_out,
            autoscaling=None if scaling is None else AutoscalingView.of(scaling),
        )

    return routes


def _summary(pool: str, views: Sequence[WorkerView], told: LevelsTold | None) -> PoolSummary:
    return PoolSummary(
        name=pool,
        workers=len(views),
        ready=sum(view.state is WorkerState.READY for view in views),
        sessions=sum(len(view.sessions) for view in views),
        capacity=sum(view.capacity for view in views),
        free=sum(view.free for view in views),
        levels=None if told is None else LevelsView.of(told),
    )
