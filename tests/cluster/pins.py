"""Which programs make up the cluster, from which pinned modules; and where what was built of them is kept."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "modules"
CACHE = Path.home() / ".cache" / "mlops-cluster"
TEKTON = "github.com/tektoncd/pipeline"
TRIGGERS = "github.com/tektoncd/triggers"
# modules that bring manifests of their own → the Go module that has them in config/
MANIFESTS = {"tekton": TEKTON, "triggers": TRIGGERS}

_COMPONENT = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its name, the directory of its go.mod, and the package that holds its main."""

    name: str
    module: str
    package: str


def _of(module: str, prefix: str, *names: str) -> tuple[Program, ...]:
    return tuple(Program(name, module, f"{prefix}/{name}") for name in names)


# in the order in which they are built: what is needed first, and each module's long one first
PROGRAMS = (
    Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    *_of(
        *("kubernetes", "k8s.io/kubernetes/cmd", "kube-apiserver", "kubectl"),
        *("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    ),
    *_of(
        *("containerd", "github.com/containerd/containerd/v2/cmd"),
        *("containerd", "containerd-shim-runc-v2", "ctr"),
    ),
    *_of(
        *("tekton", f"{TEKTON}/cmd", "webhook", "controller", "events", "resolvers"),
        *("entrypoint", "nop", "workingdirinit", "sidecarlogresults"),
    ),
    *_of(
        *("triggers", f"{TRIGGERS}/cmd", "controller"),
        *("webhook", "interceptors", "eventlistenersink"),
    ),
)


def version(module: str, package: str) -> str:
    """The version of a Go module that a go.mod of ours pins."""
    text = (MODULES / module / "go.mod").read_text()
    found = re.search(rf"^\s*{re.escape(package)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"{module}/go.mod does not pin {package}")
    return found[1]


def link_flags(program: Program) -> str:
    """What the linker is told: no debug tables, and Kubernetes its own version, which Tekton asks for."""
    if program.module != "kubernetes":
        return "-s -w"
    named = version("kubernetes", "k8s.io/kubernetes")
    major, minor, _ = named.removeprefix("v").split(".")
    told = {"gitVersion": named, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(("-s -w", *(f"-X {_COMPONENT}.{key}={value}" for key, value in told.items())))


def programs(module: str) -> tuple[Program, ...]:
    """The programs of a module, in the order in which they are built."""
    return tuple(each for each in PROGRAMS if each.module == module)


def modules() -> tuple[str, ...]:
    """The directories of the modules, in the order in which they are built."""
    return tuple(dict.fromkeys(each.module for each in PROGRAMS))


def place(module: str) -> Path:
    """Where what is built of a module is kept: a directory of its own for each state of its pins."""
    digest = hashlib.sha256()
    for path in sorted((MODULES / module).glob("go.*")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    for program in programs(module):
        digest.update(f"{program.name}\0{program.package}\0{link_flags(program)}\0".encode())
    return CACHE / f"{module}-{digest.hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Built:
    """What was built: where each module's programs are, in bin/, and its manifests, in config/."""

    places: Mapping[str, Path]

    def binary(self, name: str, module: str = "") -> Path:
        """A program; with `module` one whose name others have too."""
        found = next(each for each in PROGRAMS if each.name == name and module in ("", each.module))
        return self.places[found.module] / "bin" / name

    def config(self, module: str) -> Path:
        return self.places[module] / "config"

    @property
    def path(self) -> str:
        """The directories of programs, as PATH has them."""
        return ":".join(str(place / "bin") for place in self.places.values())


def built() -> Built:
    """Where the programs are, or will be once they are built."""
    return Built({module: place(module) for module in modules()})


def toolchain() -> tuple[int, int]:
    """Go's version, as (major, minor); (0, 0) where there is none."""
    try:
        done = subprocess.run(
            ["go", "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.CalledProcessError):
        return (0, 0)
    found = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
