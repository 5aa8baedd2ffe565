"""Turns text into capitals: python worker.py URL TYPE [JOBS], the key in NFRX_CLIENT_KEY.

SIGTERM finishes the job in hand and leaves; Ctrl-C gives it back.
"""

import os
import signal
import sys
from collections.abc import Iterator

from nfrx import Worker, WorkerJob


def shout(job: WorkerJob) -> None:
    with job.open_payload() as incoming:

        def capitals() -> Iterator[bytes]:
            for piece in incoming:
                yield piece.upper()

        job.send_result(capitals())


def main() -> None:
    url, kind, *jobs = sys.argv[1:]
    with Worker(url, client_key=os.environ.get("NFRX_CLIENT_KEY"), types=[kind], slots=2) as worker:
        signal.signal(signal.SIGTERM, lambda *_: worker.drain())
        worker.run(shout, jobs_max=int(jobs[0]) if jobs else None)


if __name__ == "__main__":
    main()
