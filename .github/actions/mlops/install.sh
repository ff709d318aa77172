#!/usr/bin/env bash
# Installs mlops into an environment of its own: this checkout with its locked packages, or a released version.
set -euo pipefail

at="$RUNNER_TEMP/mlops"
python -m venv "$at"
pip=("$at/bin/python" -m pip --disable-pip-version-check --quiet)
if [ -n "$MLOPS_INPUT_VERSION" ]; then
    if ! [[ $MLOPS_INPUT_VERSION =~ ^[0-9A-Za-z.+]+$ ]]; then
        echo "mlops: the input version is no version" >&2
        exit 2
    fi
    "${pip[@]}" install "mlops-gitops==$MLOPS_INPUT_VERSION"
else
    root=$(cd "$GITHUB_ACTION_PATH/../../.." && pwd)
    "${pip[@]}" install --require-hashes --requirement "$root/requirements-tool.txt"
    "${pip[@]}" install --no-deps "$root"
fi
ln -s "$at/bin/mlops" "$RUNNER_TEMP/mlops-command"

read -r -a words <<<"$MLOPS_INPUT_COMMAND"
case "${words[0]:-}" in watch | run) trains=yes ;; *) trains=no ;; esac
if [ "$MLOPS_INPUT_SANDBOX" = true ] && [ "$trains" = yes ] && [ "$RUNNER_OS" = Linux ]; then
    command -v bwrap >/dev/null || sudo apt-get install --yes --no-install-recommends bubblewrap
    # Ubuntu 24.04 keeps user namespaces from programs that AppArmor does not know
    sudo sysctl --quiet --write kernel.apparmor_restrict_unprivileged_userns=0 || true
fi
