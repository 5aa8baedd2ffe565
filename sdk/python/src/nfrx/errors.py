"""What can go wrong, one class per thing a caller reacts to differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import Job


class NfrxError(Exception):
    """The root of every error this package raises on its own account."""


class ApiError(NfrxError):
    """The server refused a call.

    ``status`` is the HTTP status and ``code`` the server's word for it, such as ``not_found`` or
    ``invalid_state``; ``request_id`` finds the call in the server's log.
    """

    def __init__(self, status: int, code: str, request_id: str | None = None) -> None:
        named = f" (request {request_id})" if request_id else ""
        super().__init__(f"the server answered {status} {code}{named}")
        self.status = status
        self.code = code
        self.request_id = request_id


class ConnectionLost(NfrxError):
    """The server could not be reached, also after trying again."""


class TransferError(NfrxError):
    """Bytes did not arrive whole. What has come so far must not be used."""


class TooLarge(TransferError):
    """A body is larger than the caller's limit for bytes held in memory."""


class JobFailed(NfrxError):
    """A worker gave the job up; ``job.error`` says why."""

    def __init__(self, job: Job) -> None:
        code, message = (job.error.code, job.error.message) if job.error else ("", "no reason given")
        super().__init__(f"job {job.id} failed: {code}: {message}" if code else f"job {job.id} failed: {message}")
        self.job = job


class JobCanceled(NfrxError):
    """The job was canceled; a worker's handler gets this from every call about its job."""


class LeaseLost(NfrxError):
    """The worker's claim has run out: somebody else may be doing the job by now."""


class HandlerError(NfrxError):
    """Raised by a handler to fail its job with a ``code`` and a ``message`` of its choice."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class SealError(NfrxError):
    """Sealed bytes were altered, cut, not meant for this key, or come from a key that is not pinned."""
