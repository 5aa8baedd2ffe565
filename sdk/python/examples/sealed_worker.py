"""Turns sealed text into capitals: python sealed_worker.py URL TYPE [CLIENTS_KEY …].

Its key, printed at start, is what clients pin. Without clients' keys it works for everybody.
"""

import os
import sys

from nfrx import AsyncWorker, AsyncWorkerJob
from nfrx.sealed import X25519Seal

import anyio


async def shout(job: AsyncWorkerJob) -> bytes:
    return (await job.payload()).upper()


async def main() -> None:
    url, kind, *clients = sys.argv[1:]
    seal = X25519Seal(peers=clients or None)
    print("my key:", seal.identity.public_key, flush=True)
    key = os.environ.get("NFRX_CLIENT_KEY")
    async with AsyncWorker(url, key, types=[kind], seals=[seal], sealed_only=True) as worker:
        await worker.run(shout)


if __name__ == "__main__":
    anyio.run(main)
