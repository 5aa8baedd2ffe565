"""Jobs, workers and transfers of an nfrx relay.

A client creates jobs and exchanges their bytes; a worker claims jobs and does them. Each comes
async (:class:`AsyncClient`, :class:`AsyncWorker`) and plain (:class:`Client`, :class:`Worker`).
"""

from ._bodies import Source
from ._serve import Received
from ._workerjob import AsyncWorkerJob
from .client import AsyncClient, Outcome, Terms
from .errors import (
    ApiError,
    ConnectionLost,
    HandlerError,
    JobCanceled,
    JobFailed,
    LeaseLost,
    NfrxError,
    SealError,
    TooLarge,
    TransferError,
)
from .models import Channel, Event, Job, Problem
from .seals import Seal
from .sync import Client, Worker, WorkerJob
from .worker import AsyncWorker

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncWorker",
    "AsyncWorkerJob",
    "Channel",
    "Client",
    "ConnectionLost",
    "Event",
    "HandlerError",
    "Job",
    "JobCanceled",
    "JobFailed",
    "LeaseLost",
    "NfrxError",
    "Outcome",
    "Problem",
    "Received",
    "Seal",
    "SealError",
    "Source",
    "Terms",
    "TooLarge",
    "TransferError",
    "Worker",
    "WorkerJob",
]
