"""The API of one cluster: objects as JSON, by kind and name, in one namespace."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from mlops.adapters.cluster import faults
from mlops.adapters.cluster.absence import Absence
from mlops.adapters.cluster.backoff import Backoff
from mlops.adapters.cluster.faults import Answer
from mlops.adapters.cluster.kinds import KNOWN, Kind
from mlops.errors import ClusterError, ConfigError, ForbiddenError, MlopsError

Json = dict[str, Any]
Params = Sequence[tuple[str, str]]

_CONNECT, _READ = 10.0, 60.0  # seconds
_PAGE = 500  # objects
_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
# of an object its metadata, and a row for people (Kubernetes API concepts, "Receiving resources as Tables")
_SHOWN = "application/json;as=Table;g=meta.k8s.io;v=v1"
_MANAGER = "mlops"
_VERBS = {"create": "POST", "replace": "PUT", "apply": "PATCH"}
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')  # RFC 7234, 5.5


class AnsweredError(Exception):
    """The API answered, and it was no success: for callers that know what it means."""

    def __init__(self, found: Answer) -> None:
        super().__init__(found.message)
        self.answer = found


class Cluster:
    """Objects of a cluster, `namespace` where none is named. Safe to use from several threads.

    Reads and writes that can be repeated are tried again for `patience` seconds where the API is
    away or busy; `absence` says so meanwhile. Raises ClusterError (exit 3) then, ForbiddenError where
    RBAC forbids, ConfigError where the API or an admission webhook finds the document wrong.
    """

    def __init__(self, client: ApiClient, namespace: str, patience: float = 60.0) -> None:
        client.user_agent = "mlops"
        client.rest_client.pool_manager.connection_pool_kw["maxsize"] = 16
        self._client = client
        self._patience = patience
        self._times = (min(_CONNECT, patience / 2), min(_READ, patience * 2 / 3))
        self._kinds: dict[tuple[str, str], Kind] = dict(KNOWN)
        self.warn: Callable[[str], None] = lambda _: None  # what the API warns of, as it does
        self.making: Callable[[str], str] = "kubectl create namespace {}".format  # says how to
        self.namespace = namespace
        self.server = str(client.configuration.host)
        self.absence = Absence(self.server)

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        """An object; None where there is none of that name."""
        path = kind.path(namespace or self.namespace, name)
        return self._object("GET", path, f"read {kind.name} {name}")

    def read(self, path: str, doing: str) -> Json | None:
        """What stands at a path of the API that is no object's; None where nothing does."""
        return self._object("GET", path, doing)

    def outline(self, kind: Kind, name: str) -> tuple[Json, Mapping[str, Any]] | None:
        """An object's metadata and what `kubectl get` shows of it, by the names of the columns; what it
        holds stays on the server. None where there is none of that name."""
        path = kind.path(self.namespace, name)
        found = self._object("GET", path, f"look for {kind.name} {name}", accept=_SHOWN)
        if found is None:
            return None
        (row,) = found["rows"]
        columns = [str(each["name"]) for each in found["columnDefinitions"]]
        return dict(row["object"]["metadata"]), dict(zip(columns, row["cells"], strict=True))

    def list(self, kind: Kind, picked: Params = (), namespace: str = "") -> tuple[list[Json], str]:
        """All objects of a namespace that `picked` (labelSelector, fieldSelector) picks, and the
        version of that list."""
        found: list[Json] = []
        params = [("limit", str(_PAGE)), *picked]
        more = ""
        where = namespace or self.namespace
        doing = f"list {kind.plural} in namespace {where}"
        while True:
            asked = [*params, ("continue", more)] if more else params
            try:
                page = self._json("GET", kind.path(where), doing, asked)
            except AnsweredError as exc:
                if exc.answer.code == faults.GONE and more:  # the pages are of too old a list
                    found, more = [], ""
                    continue
                raise self._error(exc, doing) from exc
            about = {"apiVersion": kind.version, "kind": kind.name}  # a list's items lack them
            found.extend({**about, **each} for each in page.get("items") or ())
            listed = page.get("metadata") or {}
            more = listed.get("continue") or ""
            if not more:
                return found, str(listed.get("resourceVersion") or "")

    def create(self, document: Mapping[str, Any], *, dry_run: bool = False) -> Json | None:
        """Create an object under strict field validation; None where there is one of its name.

        A creation whose answer was lost is tried again, and then finds what it made: see who calls.
        """
        try:
            return self._write("create", document, (), _JSON, dry_run=dry_run)
        except AnsweredError as exc:
            if exc.answer.exists:
                return None
            raise self._refused(exc, "create", document) from exc

    def require_namespace(self) -> None:
        """Raises ConfigError where our namespace is not there: lists of one are empty. Who may not see
        namespaces hears nothing."""
        with contextlib.suppress(ForbiddenError):
            if self.get(KNOWN["v1", "Namespace"], self.namespace) is None:
                raise self.absent()

    def absent(self, name: str = "") -> ConfigError:
        """What to raise where a namespace, ours or another, is not there."""
        told = f"the cluster at {self.server} has no namespace {name or self.namespace}"
        return ConfigError(told, hint=f"Make it: {self.making(name or self.namespace)}")

    def replace(self, document: Mapping[str, Any]) -> Json | None:
        """Put a document in the place of the object whose `resourceVersion` it names; None where
        that is no longer how it stands: somebody else changed it, or it is gone."""
        try:
            return self._write("replace", document, (), _JSON)
        except AnsweredError as exc:
            if exc.answer.code in (404, 409):
                return None
            raise self._refused(exc, "replace", document) from exc

    def everywhere(self, kind: Kind) -> Sequence[Json]:
        """The objects of a kind in all namespaces; none where the cluster knows no such kind."""
        root = f"/apis/{kind.version}" if "/" in kind.version else f"/api/{kind.version}"
        found = self._object(
            "GET", f"{root}/{kind.plural}", f"list {kind.plural} of all namespaces"
        )
        return tuple((found or {}).get("items") or ())

    def merge(
        self, kind: Kind, name: str, patch: Mapping[str, Any], namespace: str = ""
    ) -> Json | None:
        """Lay a JSON merge patch over an object; None where there is none of that name."""
        path = kind.path(namespace or self.namespace, name)
        return self._object("PATCH", path, f"change {kind.name} {name}", (), dict(patch), _MERGE)

    def apply(
        self, document: Mapping[str, Any], *, dry_run: bool = False, force: bool = False
    ) -> Json:
        """Apply a document server-side as field manager `mlops`; with `force`, over other managers'."""
        params = [("force", "true")] if force else []
        try:
            return self._write("apply", document, params, _APPLY, dry_run=dry_run)
        except AnsweredError as exc:
            raise self._refused(exc, "apply", document) from exc

    def _write(
        self,
        verb: str,
        document: Mapping[str, Any],
        more: Params,
        form: str,
        *,
        dry_run: bool = False,
    ) -> Json:
        """Create, replace or apply a document under strict field validation."""
        kind, metadata = self.kind(document), document.get("metadata") or {}
        name = "" if verb == "create" else str(metadata.get("name") or "")
        path = kind.path(str(metadata.get("namespace") or self.namespace), name)
        params = [("fieldManager", _MANAGER), ("fieldValidation", "Strict"), *more]
        params += [("dryRun", "All")] if dry_run else []
        body = json.dumps(document) if form == _APPLY else dict(document)
        return self._json(_VERBS[verb], path, faults.writing(verb, document), params, body, form)

    def delete(self, kind: Kind, name: str, namespace: str = "") -> bool:
        """Remove an object, and what it owns in the background; whether there was one."""
        path = kind.path(namespace or self.namespace, name)
        params = [("propagationPolicy", "Background")]
        return self._object("DELETE", path, f"remove {kind.name} {name}", params) is not None

    def kind(self, document: Mapping[str, Any]) -> Kind:
        """The kind of a document, asked of the API where it is none that we know. Raises ConfigError
        where the cluster has no such kind."""
        version, name = str(document.get("apiVersion") or ""), str(document.get("kind") or "")
        found = self._kinds.get((version, name))
        if found is None:
            self._discover(version)
            found = self._kinds.get((version, name))
        if found is None:
            raise ConfigError(
                f"the cluster at {self.server} knows no {name or 'kind'} of {version!r}"
            )
        return found

    def knows(self, kind: Kind) -> bool:
        """Whether the cluster has such a kind, as it says to whoever may do nothing else."""
        key = (kind.version, kind.name)
        if key not in self._kinds:
            self._discover(kind.version)
        return key in self._kinds

    def _discover(self, version: str) -> None:
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        listed = self._object("GET", root, f"ask for the kinds of {version}") or {}
        for each in listed.get("resources") or ():
            if "/" not in each["name"]:
                kind = Kind(each["kind"], version, each["name"], bool(each.get("namespaced")))
                self._kinds.setdefault((version, each["kind"]), kind)

    def events(self, kind: Kind, params: Params, seconds: float) -> Iterator[Mapping[str, Any]]:
        """One connection of a watch: its events, bookmarks too, until the API or the wire ends it.

        Raises AnsweredError where the API refuses it, ClusterError where the wire breaks.
        """
        doing = f"watch {kind.plural} in namespace {self.namespace}"
        asked = [("watch", "true"), ("timeoutSeconds", str(round(seconds))), *params]
        response = self._send("GET", kind.path(self.namespace), doing, asked, read=seconds + 30)
        yield from self._lines_of(response, doing)

    def log(
        self, pod: str, container: str, *, since: str = "", follow: bool = False
    ) -> Iterator[bytes]:
        """The bytes of a container's log as they come, each line with its time before it.

        `since` is RFC 3339: lines of that second, and later. Raises AnsweredError where there is no
        log (yet), ClusterError where the wire breaks.
        """
        params = [("container", container), ("timestamps", "true")]
        params += [("sinceTime", since)] if since else []
        params += [("follow", "true")] if follow else []
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        doing = f"read the log of {pod}/{container}"
        response = self._send("GET", path, doing, params, read=3600.0, accept="*/*")
        yield from self._pieces(response, doing)

    def _object(
        self,
        method: str,
        path: str,
        doing: str,
        params: Params = (),
        body: Any = None,
        kind: str = "",
        accept: str = _JSON,
    ) -> Json | None:
        try:
            return self._json(method, path, doing, params, body, kind, accept)
        except AnsweredError as exc:
            if exc.answer.code == 404:
                return None
            raise self._error(exc, doing) from exc

    def _json(
        self,
        method: str,
        path: str,
        doing: str,
        params: Params = (),
        body: Any = None,
        kind: str = "",
        accept: str = _JSON,
    ) -> Json:
        """One call, tried again while the API is away or busy."""
        backoff = Backoff(self._patience, began=True)
        with self.absence.asking(self._patience):
            while True:
                try:
                    response = self._send(method, path, doing, params, body, kind, accept=accept)
                    found: Json = json.loads(self._read(response, doing))
                    return found
                except ClusterError as exc:
                    if not exc.retryable or not backoff.wait():
                        raise
                except AnsweredError as exc:
                    if not exc.answer.retryable:
                        raise
                    if not backoff.wait():
                        raise self._error(exc, doing) from exc
                except ValueError as exc:
                    raise ClusterError(f"cannot {doing}: {self.server} answers no JSON") from exc

    def _send(
        self,
        method: str,
        path: str,
        doing: str,
        params: Params = (),
        body: Any = None,
        kind: str = "",
        read: float = 0.0,
        accept: str = _JSON,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": accept} | ({"Content-Type": kind} if kind else {})
        try:
            request = self._client.param_serialize(
                method,
                path,
                query_params=list(params),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            times = (self._times[0], read or self._times[1])
            found = self._client.call_api(*request, _request_timeout=times)
            response: urllib3.BaseHTTPResponse = found.response
            for warning in _WARNING.findall(response.headers.get("Warning") or ""):
                self.warn(re.sub(r"\\(.)", r"\1", warning))
            if not 200 <= response.status < 300:
                text = response.read()
                raise self._answered(faults.answer(response.status, text, response.reason or ""))
            self.absence.answered()
        except (HTTPError, ApiException, OSError) as exc:
            raise self._lost(doing, exc) from exc
        return response

    def _answered(self, found: Answer) -> AnsweredError:
        """An answer that is no success, after which the API may still be waited for."""
        if found.retryable:
            self.absence.failed(f"it answers {found.code} {found.message or found.reason}".rstrip())
        else:
            self.absence.answered()
        return AnsweredError(found)

    def _lost(self, doing: str, exc: Exception) -> ClusterError:
        """No answer, or one that broke off."""
        found = faults.cause(exc)
        self.absence.failed(found)
        return faults.unreachable(self.server, doing, found)

    def _read(self, response: urllib3.BaseHTTPResponse, doing: str) -> bytes:
        try:
            return response.read()
        except (HTTPError, OSError) as exc:
            raise self._lost(doing, exc) from exc
        finally:
            response.release_conn()

    def _pieces(self, response: urllib3.BaseHTTPResponse, doing: str) -> Iterator[bytes]:
        try:
            yield from response.stream(1 << 16, decode_content=False)
        except (HTTPError, OSError) as exc:
            raise self._lost(doing, exc) from exc
        finally:
            response.close()

    def _raw_lines(self, response: urllib3.BaseHTTPResponse, doing: str) -> Iterator[bytes]:
        rest = b""
        for piece in self._pieces(response, doing):
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def _lines_of(
        self, response: urllib3.BaseHTTPResponse, doing: str
    ) -> Iterator[Mapping[str, Any]]:
        for line in self._raw_lines(response, doing):
            try:
                event = json.loads(line)
            except ValueError:  # the wire broke in the middle of it
                return
            if event.get("type") == "ERROR":
                status = event.get("object") or {}
                text = json.dumps(status | {"kind": "Status"}).encode()
                raise AnsweredError(faults.answer(int(status.get("code") or 500), text))
            yield event

    def _error(self, exc: AnsweredError, doing: str) -> MlopsError:
        return faults.error(exc.answer, doing, self.server)

    def _refused(self, exc: AnsweredError, verb: str, document: Mapping[str, Any]) -> MlopsError:
        """What to raise where a document was not written."""
        kind = self.kind(document)
        if exc.answer.code != 404:
            return self._error(exc, faults.writing(verb, document))
        if "namespaces" in exc.answer.message:
            return self.absent(str((document.get("metadata") or {}).get("namespace") or ""))
        return ClusterError(
            f"the cluster at {self.server} knows no {kind.name} of {kind.version}",
            hint="Is Tekton Pipelines installed there? mlops doctor checks it"
            if "tekton" in kind.version
            else "",
        )
