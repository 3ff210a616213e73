"""The statuses that a kubelet writes about a pod and a node, as the fake one does."""

from datetime import UTC, datetime
from typing import Any


def waiting(pod: dict[str, Any], reason: str, message: str = "") -> dict[str, Any]:
    """No container runs yet."""
    state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    return _status(pod, "Pending", state)


def running(pod: dict[str, Any], address: str, *, ready: bool) -> dict[str, Any]:
    """All containers run, and the readiness probe says so or not."""
    status = _status(pod, "Running", {"running": {"startedAt": now()}}, ready=ready)
    return status | {"podIP": address, "podIPs": [{"ip": address}]}


def crashed(pod: dict[str, Any], exit_code: int) -> dict[str, Any]:
    """All containers ended: for good where the restart policy is Never, else they wait for their next start."""
    if pod["spec"]["restartPolicy"] == "Never":
        ended = {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed", "finishedAt": now()}
        return _status(pod, "Failed" if exit_code else "Succeeded", {"terminated": ended})
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    return _status(pod, "Running", state, restarts=1)


def node(room: dict[str, str]) -> dict[str, Any]:
    """A node that is Ready and has this much room."""
    return {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": "10.244.255.1"}],
        "conditions": [{**_condition("Ready", holds=True), "lastHeartbeatTime": now()}],
    }


def now(form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return datetime.now(UTC).strftime(form)


def _status(
    pod: dict[str, Any], phase: str, state: dict[str, Any], *, ready: bool = False, restarts: int = 0
) -> dict[str, Any]:
    containers = [
        {
            "name": one["name"],
            "image": one.get("image", ""),
            "imageID": "",
            "ready": ready,
            "started": "running" in state,
            "restartCount": restarts,
            "state": state,
        }
        for one in pod["spec"]["containers"]
    ]
    return {
        "phase": phase,
        "startTime": pod["status"].get("startTime", now()),
        "containerStatuses": containers,
        "conditions": [
            _condition("Initialized", holds=True),
            _condition("ContainersReady", holds=ready),
            _condition("Ready", holds=ready),
        ],
    }


def _condition(kind: str, *, holds: bool) -> dict[str, str]:
    return {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": now()}
