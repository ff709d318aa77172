"""httpx without its command line, whose parts (rich, pygments, click) take as long to load as all the rest of it.

httpx has a stand-in for where they are not installed; for the moment of its import they seem not to be.
"""

from __future__ import annotations

import sys

_LINE = "httpx._main"
_unseen = _LINE not in sys.modules
if _unseen:
    sys.modules[_LINE] = None  # type: ignore[assignment]  # makes its import an ImportError

import httpx  # noqa: E402

if _unseen:
    del sys.modules[_LINE]

__all__ = ["httpx"]
