"""Leaves a file to be worked on, and fetches the result another time.

python kept.py URL leave TYPE FILE prints a job; python kept.py URL fetch JOB RESULT waits for it.
The key is in NFRX_API_KEY.
"""

import os
import sys
from pathlib import Path

from nfrx import Client, NfrxError, Terms


def main() -> None:
    url, what, *rest = sys.argv[1:]
    with Client(url, api_key=os.environ.get("NFRX_API_KEY")) as client:
        if what == "leave":
            kind, source = rest
            job_id = client.create(kind, terms=Terms(keep=True, payload_keys=["payload"]))
            client.store(job_id, Path(source))
            print(job_id)
            return
        job_id, target = rest
        for event in client.watch(job_id):
            if event.job is not None and event.job.error is not None:
                sys.exit(f"{event.job.status}: {event.job.error.message}")
        with client.stored(job_id) as incoming:
            incoming.save(Path(target))


if __name__ == "__main__":
    try:
        main()
    except NfrxError as error:
        sys.exit(f"{error}")
