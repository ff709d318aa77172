"""Brings the API documents that forges publish into .cache/openapi, for the tests that hold our fakes against them.

They come by npm, as it is set up here, from packages that carry them: by version and hash.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".cache" / "openapi"
PACKAGE, VERSION = "@octokit/openapi", "23.0.2"
INTEGRITY = "sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg=="
MEMBER, NAME = "package/generated/api.github.com.json", f"github-{VERSION}.json"
_LARGEST = 64 << 20  # bytes of a document


def main() -> int:
    """Fetch what is not there; 3 where that fails."""
    target = TARGET / NAME
    if target.is_file():
        return 0
    TARGET.mkdir(parents=True, exist_ok=True)
    print(f"fetching {PACKAGE} {VERSION}: GitHub's API document, for the tests", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=TARGET) as scratch:
        argv = ["npm", "pack", "--silent", "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(argv, cwd=scratch, capture_output=True, text=True, check=False)
        archives = list(Path(scratch).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            print(f"error: npm brought no {PACKAGE}: {done.stderr.strip()}", file=sys.stderr)
            return 3
        found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
        if f"sha512-{found}" != INTEGRITY:
            print(f"error: {PACKAGE} {VERSION} is not what it was: sha512-{found}", file=sys.stderr)
            return 3
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile(MEMBER)
            content = member.read(_LARGEST) if member is not None else b""
        written = Path(scratch) / NAME
        written.write_bytes(content)
        written.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
