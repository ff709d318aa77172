"""Start-up: `mlops --help` against an empty typer program, and what `status` imports.

Run: python benchmarks/startup.py [ROUNDS]. Goal: --help within 2 times of the empty program.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from measure import in_turn, median_ratio, write

EMPTY = '''
import typer

app = typer.Typer()


@app.command()
def hello() -> None:
    """An empty program."""


app()
'''


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as scratch:
        empty = Path(scratch) / "empty.py"
        empty.write_text(EMPTY)
        times = in_turn(
            {
                "empty typer program, --help": [sys.executable, str(empty), "--help"],
                "mlops --help": [sys.executable, "-m", "mlops", "--help"],
                "mlops status --help": [sys.executable, "-m", "mlops", "status", "--help"],
                "mlops --version": [sys.executable, "-m", "mlops", "--version"],
            },
            rounds,
        )
    reference = times["empty typer program, --help"]
    rows = [
        (name, f"{statistics.median(took) * 1000:.0f}", f"{median_ratio(took, reference):.2f}")
        for name, took in times.items()
    ]
    remark = f"Whole processes, {rounds} rounds in turn, with bytecode."
    write(
        "startup", "Start-up", ("command", "median, ms", "ratio to the empty program"), rows, remark
    )


if __name__ == "__main__":
    main()
