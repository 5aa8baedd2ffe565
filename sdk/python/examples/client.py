"""Sends a file to be worked on: python client.py URL TYPE FILE RESULT, the key in NFRX_API_KEY."""

import os
import sys
from pathlib import Path

from nfrx import Client, Job, NfrxError


def say(job: Job) -> None:
    print(job.status, dict(job.progress) or "", file=sys.stderr)


def main() -> None:
    url, kind, source, target = sys.argv[1:]
    with Client(url, api_key=os.environ.get("NFRX_API_KEY")) as client:
        client.run(kind, Path(source), output=Path(target), on_status=say)


if __name__ == "__main__":
    try:
        main()
    except NfrxError as error:
        sys.exit(f"{error}")
