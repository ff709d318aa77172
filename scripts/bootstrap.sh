#!/bin/sh
# Prepares this checkout: .venv with the locked packages, compiled, and the programs that mlops calls.
#
#   scripts/bootstrap.sh [demo|test|cluster]
#
# Needs git, make and Python 3.11 or newer. Debian packages come by apt where that may be done
# without a password; otherwise they are named, with the command. Proxy, certificate and index settings of the
# environment are left as they are. Safe to repeat, also after an interrupted or failed attempt.
set -eu
LC_ALL=C.UTF-8
export LC_ALL

purpose=${1:-demo}
cd "$(dirname "$0")/.."
venv=$PWD/.venv
ready=$venv/.ready
tools=$PWD/.cache/bin
lock=requirements-dev.txt

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 3; }
has() { command -v "$1" >/dev/null 2>&1; }

# --- Debian packages -------------------------------------------------------------------------------

may_apt() {
    has apt-get || return 1
    [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt SUBCOMMAND…: what it prints is kept for when it fails.
apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1; }

# packages NAME…: install them, or name them and the command and stop.
packages() {
    if may_apt; then
        say "installing with apt: $*"
        log=$(mktemp)
        # A fresh machine has no package lists, and stale ones name versions that are gone.
        if apt install -y --no-install-recommends "$@" ||
            { apt update && apt install -y --no-install-recommends "$@"; }; then
            rm -f "$log"
            return
        fi
        cat "$log" >&2
        rm -f "$log"
        die "apt could not install: $*"
    fi
    say "error: missing: $*"
    if has apt-get; then
        say "Run: sudo apt-get install --no-install-recommends $*"
    else
        say "Install them with your system's package manager, then repeat."
    fi
    exit 3
}

programs() {
    missing=
    has git || missing="$missing git"
    has unshare || missing="$missing util-linux"
    if [ "$(uname -s)" = Linux ]; then
        has bwrap || missing="$missing bubblewrap"
    fi
    # Without an authority to trust no package index can be reached; a setting of one's own counts.
    if [ -z "${SSL_CERT_FILE:-}" ] && [ -e /etc/debian_version ] && [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
        missing="$missing ca-certificates"
    fi
    # shellcheck disable=SC2086 - a list of names
    [ -z "$missing" ] || packages $missing
}

# --- Python ------------------------------------------------------------------------------------------

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if has "$python" && new_enough "$python"; then
            # The interpreter itself: a version manager's shim would decide anew in each directory.
            "$python" -c 'import os, sys; print(os.path.realpath(sys.executable))'
            return
        fi
    done
    die "Python 3.11 or newer is not here. Run: sudo apt-get install python3 (Debian 12 or newer)"
}

uv_fits() {
    "$1" --version 2>/dev/null | awk '{ split($2, v, "."); exit !(v[1] > 0 || v[2] >= 9) }'
}

# The locked uv, from the same list of hashes as everything else.
install_uv() {
    awk '/^uv==/ { on = 1 } /^[^ ]/ && !/^uv==/ { on = 0 } on' $lock >"$venv/uv.txt"
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$venv/bin/python" -m ensurepip >/dev/null 2>&1 || return 1
    fi
    "$venv/bin/python" -m pip install --quiet --no-deps --require-hashes -r "$venv/uv.txt" >&2
}

make_venv() {
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    rm -rf "$venv"
    if has uv && uv_fits uv; then
        uv venv --quiet --python "$python" "$venv"
        return
    fi
    # Debian's python3 has no ensurepip until python3-venv is there.
    "$python" -c 'import ensurepip, venv' 2>/dev/null || packages python3-venv
    "$python" -m venv "$venv"
    install_uv || die "pip could not install uv into .venv. The lines above say why"
}

find_uv() {
    if has uv && uv_fits uv; then
        echo uv
    else
        echo "$venv/bin/uv"
    fi
}

# What .venv was made from: when this changes, it is brought up to date.
fingerprint() {
    { cat $lock pyproject.toml scripts/bootstrap.sh; echo "$PWD"; } | cksum
}

# Bytecode is written here and now: the environment may forbid Python to write it later
# (PYTHONDONTWRITEBYTECODE), and a command without it starts two to three times slower.
compile() {
    PYTHONDONTWRITEBYTECODE='' "$venv/bin/python" -m compileall -q mlops
}

install() {
    uv=$(find_uv)
    say "installing the locked packages"
    # hatchling is among them: nothing is resolved while our own package is linked in.
    VIRTUAL_ENV=$venv PYTHONDONTWRITEBYTECODE='' "$uv" pip sync --quiet --require-hashes --compile-bytecode $lock &&
        VIRTUAL_ENV=$venv "$uv" pip install --quiet --no-deps --no-build-isolation --editable .
}

# --- kustomize, for the tests ------------------------------------------------------------------------

renders() {
    { has kustomize && kustomize version 2>/dev/null | grep -Eq '(^|[^0-9.])v?5\.'; } ||
        { has kubectl && kubectl version --client 2>/dev/null | grep -Eq 'Kustomize Version: v5\.'; }
}

# Debian's kubectl carries kustomize 5 from 1.27 on; an older one would be of no use here.
apt_kubectl() {
    may_apt && ! has kubectl || return 1
    candidate=$(apt-cache policy kubernetes-client 2>/dev/null | awk '/Candidate:/ { print $2 }')
    case ${candidate#*:} in
    1.2[7-9]* | 1.[3-9][0-9]*) packages kubernetes-client ;;
    *) return 1 ;;
    esac
}

# The newest kustomize that this Go can compile (Debian 12 has Go 1.19).
go_kustomize() {
    case $(go version) in
    *go1.19* | *go1.20* | *go1.21*) version=v5.0.3 ;;
    *) version=v5.7.1 ;;
    esac
    say "building kustomize $version with $(go version | cut -d' ' -f3)"
    mkdir -p "$tools"
    # 5.0 does not know its own version unless it is told
    GOBIN=$tools CGO_ENABLED=0 go install -trimpath -ldflags "-X sigs.k8s.io/kustomize/api/provenance.version=$version" \
        "sigs.k8s.io/kustomize/kustomize/v5@$version" >&2
}

# The tests rebuild a release a year ahead, ask a real registry, push over a real ssh, and run containers
# in real engines: podman, and a docker daemon, which they start themselves where none answers.
bring_servers() {
    missing=
    has podman || missing="$missing podman"
    has runc || missing="$missing runc"
    has docker && { has dockerd || docker version >/dev/null 2>&1; } || missing="$missing docker.io"
    has faketime || missing="$missing faketime"
    has docker-registry || missing="$missing docker-registry"
    has skopeo || missing="$missing skopeo"
    has umoci || missing="$missing umoci"
    has containerd || missing="$missing containerd"
    [ -x /usr/sbin/sshd ] || has sshd || missing="$missing openssh-server"
    has openssl || missing="$missing openssl"
    # bases for other processors, made of Debian's packages and run by an emulator
    has mmdebstrap || missing="$missing mmdebstrap debian-archive-keyring"
    has qemu-aarch64-static || missing="$missing qemu-user-static"
    has zstd || missing="$missing zstd"
    # shellcheck disable=SC2086 - a list of names
    [ -z "$missing" ] || packages $missing
}

# What a node of the test cluster takes from the system; everything else is compiled.
bring_node() {
    PATH=$PATH:/usr/sbin:/sbin
    missing=
    has ip || missing="$missing iproute2"
    has iptables || missing="$missing iptables"
    has runc || missing="$missing runc"
    has docker-registry || missing="$missing docker-registry"
    has busybox || missing="$missing busybox-static"
    [ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] || missing="$missing containernetworking-plugins"
    # shellcheck disable=SC2086 - a list of names
    [ -z "$missing" ] || packages $missing
}

# The fakes of forges are held against the API documents that those publish; npm carries GitHub's.
bring_documents() {
    has npm || packages npm
    "$venv/bin/python" scripts/openapi.py || die "the tests need it. The lines above say why; then repeat"
}

bring_kustomize() {
    PATH=$tools:$PATH
    export PATH
    renders && return
    if has go; then
        go_kustomize || true
    elif may_apt; then
        say "the tests render overlays: looking for kubectl or Go among the packages"
        log=$(mktemp)
        apt update || cat "$log" >&2
        rm -f "$log"
        apt_kubectl || { packages golang-go && go_kustomize; } || true
    fi
    hash -r
    renders || die "the tests render overlays, and neither kustomize 5 nor kubectl 1.27 or newer is here. \
Install one of them, or Go 1.19 or newer to build kustomize with: sudo apt-get install golang-go"
}

# -----------------------------------------------------------------------------------------------------

programs
made=
"$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { make_venv; made=yes; }
want=$(fingerprint)
if [ "$want" != "$(cat "$ready" 2>/dev/null || true)" ]; then
    # A .venv that was there before may be damaged: it gets one second chance, from nothing.
    install || { [ -z "$made" ] && make_venv && install; } ||
        die "the packages could not be installed. The lines above say why; then repeat"
    printf '%s\n' "$want" >"$ready"
fi
compile
[ "$purpose" != test ] || { bring_servers && bring_kustomize && bring_documents; }
[ "$purpose" != cluster ] || bring_node
