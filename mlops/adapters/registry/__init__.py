"""OCI registries (OCI distribution-spec 1.1): a thin client on httpx, exact to the byte.

| room | what is there |
| --- | --- |
| `names` | repositories and tags as written; what is this machine |
| `settings` | TLS and plain HTTP of each host |
| `credentials`, `helpers` | who we are, from auth files and credential helpers |
| `tokens` | challenges, and tokens for what is to be done |
| `wire` | one host: tries, waits, redirects, refusals |
| `client` | one repository: manifests, blobs, tags |
| `uploads` | blobs on their way up: mounted, whole, in chunks, resumed |
| `referrers` | what refers to a manifest, by the API or the fallback tag |
| `images` | whole images on their way up or across |
| `store` | the image store of a project: repositories below one prefix, with a cache on disk |
"""

from mlops.adapters.registry.client import Registry
from mlops.adapters.registry.names import Repository
from mlops.adapters.registry.wire import LARGEST

__all__ = ["LARGEST", "Registry", "Repository"]
