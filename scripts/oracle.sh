#!/bin/sh
# Builds .cache/bin/oracle, which says of a Tekton document what Tekton's own admission says (tests/conformance/oracle).
#
#   scripts/oracle.sh
#
# Needs Go; modules come through its ordinary proxy. Does nothing where the program is there and its source unchanged.
set -eu
cd "$(dirname "$0")/.."
source=tests/conformance/oracle
built=$PWD/.cache/bin/oracle

command -v go >/dev/null 2>&1 || {
    echo "error: Go is not here, and the comparison with Tekton's own code needs it: sudo apt-get install golang-go" >&2
    exit 3
}
want=$(cat "$source"/*.go "$source"/go.* | cksum)
if [ ! -x "$built" ] || [ "$want" != "$(cat "$built.made-of" 2>/dev/null)" ]; then
    echo "building the oracle with $(go version | cut -d' ' -f3)" >&2
    mkdir -p "$(dirname "$built")"
    (cd "$source" && CGO_ENABLED=0 go build -trimpath -o "$built" .)
    printf '%s\n' "$want" >"$built.made-of"
fi
# Tekton's examples lie in the module's directory, whole only once the module itself was downloaded.
(cd "$source" && go mod download github.com/tektoncd/pipeline)
