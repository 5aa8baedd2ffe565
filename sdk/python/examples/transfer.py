"""Passes a file on: python transfer.py URL send FILE, then python transfer.py URL receive ID FILE."""

import os
import sys
from pathlib import Path

from nfrx import Client


def main() -> None:
    url, what, *rest = sys.argv[1:]
    with Client(url, api_key=os.environ.get("NFRX_API_KEY")) as client:
        if what == "send":
            channel = client.transfers.create()
            print(channel.id, flush=True)
            client.transfers.send(channel, Path(rest[0]))
        else:
            with client.transfers.receive(rest[0]) as incoming:
                incoming.save(Path(rest[1]))


if __name__ == "__main__":
    main()
