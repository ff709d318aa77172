#!/usr/bin/env bash
# Runs one mlops command, and hands its answer to the workflow: output, exit code, and the job's summary.
set -euo pipefail

mlops="$RUNNER_TEMP/mlops-command"
work=$(mktemp -d "$RUNNER_TEMP/mlops-run.XXXXXX")
read -r -a words <<<"$MLOPS_INPUT_COMMAND"
if [ "${#words[@]}" -eq 0 ]; then
    echo "mlops: the input command is empty" >&2
    exit 2
fi
cd -- "$MLOPS_INPUT_DIRECTORY"
export MLOPS_ACTOR="${MLOPS_ACTOR:-${GITHUB_ACTOR:-}}"

case "${words[*]}" in
guard)
    # A pull request is checked out as it would be merged: the merge's first parent is the branch as it is. The tip of a
    # merge queue's group is what the branch would become.
    words+=("${MLOPS_QUEUE_BASE:-$GITHUB_SHA^1}..$GITHUB_SHA")
    ;;
plan)
    if ! [[ ${MLOPS_PULL_REQUEST:-} =~ ^[0-9]+$ ]]; then
        echo "mlops: plan without a revision is for pull requests, and this event has none" >&2
        exit 2
    fi
    words+=(--pull-request "$MLOPS_PULL_REQUEST" --markdown)
    if [ "${MLOPS_INPUT_COMMENT:-}" = true ]; then words+=(--comment); fi
    ;;
esac

# What strangers wrote may begin with `::`: until the mark comes again the runner reads no command in it.
mark=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
echo "::stop-commands::$mark"
set +e
"$mlops" "${words[@]}" 2>&1 >"$work/answer" | tee "$work/story" >&2
code=${PIPESTATUS[0]}
set -e
cat "$work/answer"
echo "::$mark::"

{
    echo "code=$code"
    echo "answer<<$mark"
    head -c 500000 "$work/answer"
    echo
    echo "$mark"
} >>"$GITHUB_OUTPUT"

{
    if [ "${words[0]}" = plan ] && [ -s "$work/answer" ]; then
        cat "$work/answer"
    else
        echo "### mlops ${words[0]}: exit code $code"
        echo
        # indented: a block of code that no text ends
        head -c 400000 "$work/answer" | sed 's/^/    /'
        echo
        head -c 400000 "$work/story" | sed 's/^/    /'
    fi
    echo
} >>"$GITHUB_STEP_SUMMARY"
exit "$code"
