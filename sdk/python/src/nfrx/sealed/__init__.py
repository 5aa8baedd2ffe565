"""Sealed jobs: the server passes their bytes on and cannot read them. Needs ``nfrx[sealed]``.

:class:`X25519Seal` is the scheme to use; ``sdk/SEALED.md`` describes it byte by byte.
:class:`CmsSeal` speaks to programs that only know the older scheme.
"""

from .cms import CmsSeal
from .keys import Identity
from .x25519 import X25519Seal

__all__ = ["CmsSeal", "Identity", "X25519Seal"]
