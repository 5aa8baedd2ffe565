"""Keeping a claim while its job is being done."""

from __future__ import annotations

import anyio

from ._backoff import Backoff
from ._http import Http, segment
from .errors import ApiError, ConnectionLost, JobCanceled, LeaseLost, NfrxError
from .models import Claim

# Renewed this many times per lease, so that two calls may fail in a row.
RENEWALS_PER_LEASE = 3
# A lease the server did not state.
LEASE_DEFAULT = 3600.0


class Lease:
    """A worker's timed claim on one job. ``lost`` says why it ended early, once it has."""

    def __init__(self, http: Http, claim: Claim) -> None:
        self._http = http
        self._path = f"/api/jobs/{segment(claim.job_id)}/lease"
        self._token = claim.token
        self.seconds = claim.lease_seconds or LEASE_DEFAULT
        self.lost: NfrxError | None = None

    def check(self) -> None:
        """Raises what has become of the claim, if it is ours no longer."""
        if self.lost is not None:
            raise type(self.lost)(*self.lost.args)

    async def keep(self, work: anyio.CancelScope) -> None:
        """Renews until canceled. Cancels ``work`` when the job or the claim is gone."""
        if self._token is None:
            return  # A server without leases: its jobs are ours until we end them.
        deadline = anyio.current_time() + self.seconds
        longest = self.seconds / RENEWALS_PER_LEASE
        backoff = Backoff(first=min(1.0, longest), longest=longest)
        pause = self.seconds / RENEWALS_PER_LEASE
        while True:
            await anyio.sleep(min(pause, max(0.0, deadline - anyio.current_time())))
            asked = anyio.current_time()
            if asked >= deadline:
                return self.lose(LeaseLost("the lease ran out while the server could not be reached"), work)
            try:
                await self._renew(deadline - asked)
            except (JobCanceled, LeaseLost) as error:
                return self.lose(error, work)
            except (ApiError, ConnectionLost):
                pause = backoff.delay()
                continue
            backoff.reset()
            deadline, pause = asked + self.seconds, self.seconds / RENEWALS_PER_LEASE

    def lose(self, error: NfrxError, work: anyio.CancelScope) -> None:
        """Notes why, and stops the handler."""
        self.lost = error
        work.cancel()

    async def _renew(self, left: float) -> None:
        body = {"claim_token": self._token, "lease_seconds": round(self.seconds)}
        try:
            answer = await self._http.json("POST", self._path, body, silence=max(1.0, left), again=False)
        except ApiError as error:
            if error.status in (404, 409):
                raise gone(error) from error
            raise
        if isinstance(answer, dict) and (answer.get("canceled") or answer.get("status") == "canceled"):
            raise JobCanceled("the job was canceled")


def gone(error: ApiError) -> NfrxError:
    """What a refusal says about a claim that was ours."""
    if error.status == 404:
        return LeaseLost("the server knows the job no longer")
    return LeaseLost("the job was canceled, or was given to another worker")
