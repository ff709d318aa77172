"""A real Kubernetes with a real Tekton on this machine, for tests.

python -m tests.cluster [--dir DIRECTORY] build|up|down|stock|run COMMAND…
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.cluster import control, pins, requirements, stock
from tests.cluster.build import build, say
from tests.cluster.layout import DEFAULT, Layout
from tests.cluster.processes import StartError
from tests.cluster.requirements import MissingError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--dir", type=Path, default=DEFAULT, help="where the cluster's files are")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("build", help="compile what is not compiled")
    actions.add_parser("up", help="build what is not built, and start it")
    actions.add_parser("down", help="stop it, and leave nothing")
    actions.add_parser("stock", help="bring what tests need of the world, before they have none")
    run = actions.add_parser("run", help="a command in its network, with its kubeconfig")
    run.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    layout = Layout(given.dir.absolute())
    try:
        if given.action == "build":
            requirements.check()
            build()
            say(f"the programs are below {pins.CACHE}")
        elif given.action == "up":
            pid = control.up(layout)
            say(f"the cluster runs as process {pid}: python -m tests.cluster run kubectl get nodes")
        elif given.action == "down":
            control.down(layout)
        elif given.action == "stock":
            stock.fill()
        else:
            return control.inside(layout, given.command)
    except MissingError as exc:
        say(f"error: {exc}")
        return 2
    except (StartError, subprocess.CalledProcessError) as exc:
        say(f"error: {exc}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
