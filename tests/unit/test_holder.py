"""A holder is dead only when that very process is gone."""

import json
import subprocess
import sys

from mlops.adapters import holder


def test_this_process_lives():
    assert not holder.dead(holder.me())


def test_a_process_that_ended_is_dead():
    program = "import json; from mlops.adapters import holder; print(json.dumps(holder.me()))"

    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert holder.dead(json.loads(out.stdout))


def test_the_same_pid_with_another_start_is_dead():
    assert holder.dead({**holder.me(), "started": "1"})


def test_another_boot_is_dead_and_another_host_unknown():
    assert holder.dead({**holder.me(), "boot": "00000000-0000-0000-0000-000000000000"})
    assert not holder.dead({**holder.me(), "host": "elsewhere.invalid"})
