"""One repository of a registry: its manifests, blobs and tags.

Follows OCI distribution-spec 1.1. Every manifest and blob is checked against its digest.
Raises RegistryError, and UnreachableError where it could not be asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlops.adapters.barehttpx import httpx
from mlops.adapters.layout import file_digest
from mlops.adapters.registry import names, referrers, tokens, uploads, wire
from mlops.adapters.registry.names import Repository
from mlops.adapters.registry.tokens import Scope
from mlops.adapters.registry.wire import LARGEST, TRIES, Call, Wire
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UnreachableError

KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join(KINDS)  # without a fitting kind a manifest is not found
_MOST_TAGS = 200_000
_PAGE = 1000
_NO_DELETE = frozenset((400, 405))  # what registries answer that let nobody delete


class Registry:
    """One repository of a registry; meets `ports.ImageReader`. Safe for threads."""

    def __init__(self, name: str, *, ours: bool = True, through: Wire | None = None) -> None:
        """`name` is the repository with its host; `ours` where that is the project's own registry,
        which alone is told the credentials in the environment. `through` is the wire to its host
        that others use already. Raises UsageError where it names none."""
        self.repository = Repository.parse(name)
        self.location = str(self.repository)
        self.wire = through or Wire(self.repository.host, ours=ours)

    def beside(self, path: str) -> Registry:
        """Another repository of the same host."""
        return Registry(f"{self.repository.host}/{path}", through=self.wire)

    # -- reading

    def has_manifest(self, digest: Digest) -> bool:
        return self._there("manifests", str(digest))

    def has_blob(self, digest: Digest) -> bool:
        return self._there("blobs", str(digest))

    def manifest(self, digest: Digest) -> bytes:
        """The bytes of a manifest or index, checked against its digest. Raises RegistryError where
        it is absent, too large, or another."""
        content = self._get(str(digest))
        if content is None:
            raise RegistryError(f"{self.location} has no manifest {digest}")
        if Digest.of(content) != digest:
            raise RegistryError(f"{self.location} gave other bytes than {digest} names")
        return content

    def resolve(self, tag: str) -> Digest | None:
        """The digest that a tag names now, taken of the bytes themselves; None where there is no
        such tag. Raises UsageError where it can be no tag, RegistryError where the registry
        announces another digest than it sends."""
        content = self.tagged(tag)
        return None if content is None else Digest.of(content)

    def tagged(self, tag: str) -> bytes | None:
        """The bytes of the manifest that a tag names now; as `resolve`."""
        return self._get(names.tag(tag))

    def tags(self) -> tuple[str, ...]:
        """All tags, sorted; none where the repository is not there. Raises RegistryError where
        there is no end of them."""
        found: set[str] = set()
        target = f"{self._path}/tags/list?n={_PAGE}"
        while target:
            with self.ask("GET", target) as answer:
                if answer.status_code == 404:
                    break
                listed = self.document(self.wire.body(answer)).get("tags") or []
                onwards = self.following(answer)
            new = {tag for tag in listed if isinstance(tag, str)} - found
            found |= new
            if not new or len(found) > _MOST_TAGS:
                if len(found) > _MOST_TAGS:
                    raise RegistryError(f"{self.location} has more than {_MOST_TAGS} tags")
                break
            target = onwards
        return tuple(sorted(found))

    def referrers(self, subject: Digest) -> tuple[Mapping[str, Any], ...]:
        """Descriptors of the manifests that name `subject`, by the API or the fallback tag."""
        return referrers.listed(self, subject)

    def fetch(
        self, digest: Digest, size: int, into: Path, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Write a blob to the file `into`, going on where a broken connection left it.

        Raises RegistryError where it is absent, not what its digest names, larger than `size` bytes,
        or the disk is full; UnreachableError where it does not come whole, or nobody wants it any
        more."""
        for number in range(TRIES):
            try:
                self._more(digest, size, into, wanted)
            except UnreachableError:
                if number + 1 == TRIES or not wanted():
                    raise
                wire.pause(number)
            except OSError as exc:
                raise RegistryError(
                    f"cannot write {into}: {exc.strerror or exc}",
                    hint="Nothing was changed: make room, and repeat",
                    retryable=True,
                ) from exc
            else:
                return

    def _more(self, digest: Digest, size: int, into: Path, wanted: Callable[[], bool]) -> None:
        have = into.stat().st_size if into.exists() else 0
        if have == size and size:
            return self._check(file_digest(into), digest, into)
        call = Call("GET", f"{self._path}/blobs/{digest}", self._scopes())
        if have:
            call = replace(
                call,
                headers={"Range": f"bytes={have}-"},
                good=frozenset((200, 206, 404, 416)),
            )
        with self.wire.asked(call) as answer:
            if answer.status_code == 404:
                raise RegistryError(f"{self.location} has no blob {digest}")
            if not (have and _begins(answer, have)):
                if answer.status_code != 200:
                    into.unlink(missing_ok=True)  # from the start, then
                    raise UnreachableError(f"{self.location} does not go on with {digest}")
                have = 0  # it does not know ranges
            total = _begun(into) if have else hashlib.sha256()
            with into.open("r+b" if have else "wb") as file:
                file.seek(have)
                for piece in answer.iter_raw():
                    have += len(piece)
                    total.update(piece)
                    if have > size:
                        raise RegistryError(
                            f"{self.location} sent more than {size} bytes of {digest}"
                        )
                    file.write(piece)
                    if not wanted():
                        raise UnreachableError(f"fetching {digest} was given up")
        if have < size:
            raise UnreachableError(f"{self.location} sent {have} of {size} bytes of {digest}")
        return self._check(Digest(total.hexdigest()), digest, into)

    def _check(self, found: Digest, digest: Digest, into: Path) -> None:
        if found != digest:
            into.unlink(missing_ok=True)
            raise RegistryError(f"{self.location} gave other bytes than {digest} names")

    def blob_size(self, digest: Digest) -> int:
        """A blob's size in bytes, as the registry tells it. Raises RegistryError where it does not."""
        with self.ask("HEAD", self.target(f"blobs/{digest}")) as answer:
            told = answer.headers.get("Content-Length", "")
            if answer.status_code == 404 or not told.isdigit():
                raise RegistryError(f"{self.location} does not tell the size of {digest}")
        return int(told)

    # -- writing

    def push_blob(self, digest: Digest, path: Path, source: str = "") -> str:
        """Bring a blob here: nothing where it is there, by a mount from the repository `source` of
        this host where that works, else from the file. Its digest is what the registry checks.
        Gives `there`, `mounted` or `pushed`. Raises RegistryError."""
        if self.has_blob(digest):
            return "there"
        return uploads.push(self, digest, lambda: path, source)

    def push_manifest(self, content: bytes, media_type: str, tag: str = "") -> Digest:
        """Store a manifest or index, exactly these bytes, whose parts are there already; one with a
        `subject` is entered into that one's referrers. Raises RegistryError where the registry
        refuses it, or says that it stored another."""
        digest = Digest.of(content)
        if len(content) > LARGEST:
            raise RegistryError(f"a manifest of {len(content)} bytes is over {LARGEST}")
        reference = names.tag(tag) if tag else str(digest)
        with self.put(content, media_type, reference) as answer:
            knows_subjects = "OCI-Subject" in answer.headers
        subject = referrers.subject_of(content)
        if subject is not None and not knows_subjects:
            referrers.enter(self, subject, content, media_type)
        return digest

    @contextmanager
    def put(self, content: bytes, media_type: str, reference: str) -> Iterator[httpx.Response]:
        """Store a manifest under a digest or tag; the answer. Raises RegistryError."""
        call = Call(
            "PUT",
            f"{self._path}/manifests/{reference}",
            self.may_push(),
            good=frozenset((200, 201, 202)),
            headers={"Content-Type": media_type},
            body=lambda: iter((content,)),
            length=len(content),
            slow=60.0,
        )
        with self.wire.asked(call) as answer:
            said = answer.headers.get("Docker-Content-Digest", "")
            if said.startswith("sha256:") and said != str(Digest.of(content)):
                raise RegistryError(
                    f"{self.location} says it stored {said}, and was sent {Digest.of(content)}"
                )
            yield answer

    def delete(self, digest: Digest) -> bool:
        """Delete a manifest, and with it every tag on it; False where it was not there. Raises
        RegistryError where the registry lets nobody delete."""
        call = Call(
            "DELETE",
            f"{self._path}/manifests/{digest}",
            self._scopes(tokens.DELETE),
            good=frozenset((200, 202, 404)) | _NO_DELETE,
        )
        with self.wire.asked(call) as answer:
            if answer.status_code in _NO_DELETE:
                raise RegistryError(
                    f"{self.repository.host} deletes nothing ({answer.status_code})",
                    hint="Ask who runs it to allow that, or to collect garbage",
                )
            return answer.status_code != 404

    # -- asking

    @property
    def _path(self) -> str:
        return self.repository.path

    def target(self, rest: str) -> str:
        """The address of something of the repository, as a call names it."""
        return f"{self._path}/{rest}"

    def may_push(self, *sources: str) -> tuple[Scope, ...]:
        """What a push needs, with mounts from other repositories."""
        return (Scope(self._path, tokens.PUSH), *(Scope(each) for each in sources))

    def _scopes(self, actions: str = tokens.PULL) -> tuple[Scope, ...]:
        return (Scope(self._path, actions),)

    @contextmanager
    def ask(self, method: str, target: str, accept: str = "") -> Iterator[httpx.Response]:
        """The answer to reading, with status 200 or 404."""
        headers = {"Accept": accept} if accept else {}
        with self.wire.asked(Call(method, target, self._scopes(), headers=headers)) as answer:
            yield answer

    def following(self, answer: httpx.Response) -> str:
        """Where the next page is (RFC 8288); empty at the end. Raises RegistryError where it is
        said to be on another host."""
        url = answer.links.get("next", {}).get("url", "")
        if not url:
            return ""
        base = httpx.URL(self.wire.base)
        at = answer.request.url.join(url)
        if (at.scheme, at.netloc) != (base.scheme, base.netloc):
            raise RegistryError(f"{self.location} continues a list on another host: {at.host}")
        return str(at)

    def document(self, content: bytes) -> Mapping[str, Any]:
        """A JSON object that the registry sent. Raises RegistryError."""
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise RegistryError(f"{self.location} sent something that is not JSON") from exc
        if not isinstance(found, dict):
            raise RegistryError(f"{self.location} sent something that is no JSON object")
        return found

    def _there(self, kind: str, name: str) -> bool:
        with self.ask("HEAD", self.target(f"{kind}/{name}"), ACCEPT) as answer:
            return answer.status_code == 200

    def _get(self, reference: str) -> bytes | None:
        """A manifest's bytes by digest or tag; None where absent."""
        with self.ask("GET", self.target(f"manifests/{reference}"), ACCEPT) as answer:
            if answer.status_code == 404:
                return None
            content = self.wire.body(answer)
            said = answer.headers.get("Docker-Content-Digest", "")
        if said.startswith("sha256:") and said != str(Digest.of(content)):
            raise RegistryError(f"{self.location} announced {said} and sent other bytes")
        return content


def _begun(path: Path) -> hashlib._Hash:
    """The sha256 of what a file has so far, to go on with."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


def _begins(answer: httpx.Response, start: int) -> bool:
    """Whether it is the part of a blob that was asked for (RFC 9110, 15.3.7)."""
    told = answer.headers.get("Content-Range", "")
    return answer.status_code == 206 and told.startswith(f"bytes {start}-")
