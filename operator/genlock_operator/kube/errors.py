"""What can go wrong between the operator and the API server, as far as anybody acts on it."""

from genlock_core.errors import GenlockError

QUOTA_WORDS = "exceeded quota"
"""What the API server's quota admission says; there is no reason of its own for it."""


class KubeError(GenlockError):
    """A request that the API server did not grant; `code` is its HTTP status, 0 without an answer."""

    def __init__(self, what: str, *, code: int, message: str) -> None:
        self.what = what
        self.code = code
        self.message = message
        super().__init__(f"{what}: {message} ({code})" if code else f"{what}: {message}")


class Conflict(KubeError):
    """The object is not the one that was seen: its resourceVersion or uid is another one."""


class AlreadyExists(KubeError):
    """There is an object of that name."""


class NotFound(KubeError):
    """There is no such object, kind or namespace."""


class RequestRefused(KubeError):
    """The API server understood and said no: a quota, a policy, a schema, missing rights."""

    @property
    def quota(self) -> bool:
        """Whether a ResourceQuota is what stands in the way."""
        return self.code == 403 and QUOTA_WORDS in self.message


class Unavailable(KubeError):
    """No answer in time, or one that promises better: 429 and 5xx. Trying again later may help."""


def of_answer(what: str, code: int, reason: str, message: str) -> KubeError:
    """The error for an answer that is none of success; `reason` is the Status object's own word."""
    if code == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
        return kind(what, code=code, message=message)
    if code == 404:
        return NotFound(what, code=code, message=message)
    if code == 429 or code >= 500:
        return Unavailable(what, code=code, message=message)
    return RequestRefused(what, code=code, message=message)
