"""Sends bytes that only one worker can read.

python sealed_client.py URL TYPE FILE WORKERS_KEY; prints the result. Its own key is in me.pem,
which is made at the first start.
"""

import os
import sys
from pathlib import Path

from nfrx import Client
from nfrx.sealed import Identity, X25519Seal

ME = Path("me.pem")


def main() -> None:
    url, kind, source, worker = sys.argv[1:]
    if not ME.exists():
        Identity.generate().save(ME)
    seal = X25519Seal(Identity.load(ME), peers=[worker])
    print("my key:", seal.identity.public_key, file=sys.stderr)
    with Client(url, api_key=os.environ.get("NFRX_API_KEY")) as client:
        outcome = client.run(kind, Path(source), seal=seal, content_type="text/plain")
    sys.stdout.buffer.write(outcome.data)


if __name__ == "__main__":
    main()
