"""What bytecode in the image is worth: import and first prediction with it and without, and its size.

Run: python benchmarks/bytecode.py [ROUNDS]. The environment image holds scikit-learn on `base: host`; each start is a
process in the sandbox, whose root is read-only as on a cluster, so that nothing is compiled for the next one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import median_ratio, write

sys.path.insert(0, str(Path(__file__).parent.parent))
from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host, strategy
from mlops.build.strategy import BuiltImage, EnvironmentRequest, PinnedBase, Toolchain

ASK = """
import json, time
start = time.perf_counter()
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
imported = time.perf_counter()
x, y = load_wine(return_X_y=True)
model = RandomForestClassifier(10, random_state=0).fit(x, y)
before = time.perf_counter()
model.predict(x[:1])
print(json.dumps({"import": imported - start, "first prediction": time.perf_counter() - before}))
"""
UV = str(Path(sys.executable).with_name("uv"))
WITH, WITHOUT = "with bytecode", "without"


def lock(place: Path) -> bytes:
    (place / "requirements.txt").write_text("scikit-learn\n")
    argv = [UV, "pip", "compile", "--quiet", "--generate-hashes", "--python", sys.executable]
    done = subprocess.run(
        [*argv, str(place / "requirements.txt")], check=True, capture_output=True, cwd=place
    )
    return done.stdout


def asked(runner: SandboxedBase, built: BuiltImage) -> dict[str, float]:
    argv = ("/opt/venv/bin/python", "-c", ASK)
    env = {"PATH": "/opt/venv/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    answer: dict[str, float] = json.loads(
        runner.run(built.manifest, argv, doing="predicting", env=env)
    )
    return answer


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    times: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        store = OciLayout(place / "registry")
        base, platform = host.pack(store, Uv(place))
        runner = SandboxedBase(store, place / "cache")
        request = EnvironmentRequest(
            "wine", PinnedBase("host", base, base, platform), lock(place), place, server=False
        )
        images = {
            WITH: strategy.build_environment(store, request, Toolchain(Uv(place))),
            WITHOUT: strategy.build_environment(
                store,
                EnvironmentRequest(
                    "bare", request.base, request.requirements, place, server=False, bytecode=False
                ),
                Toolchain(Uv(place)),
            ),
        }
        for turn in range(rounds + 1):
            for kind, built in images.items():
                for what, took in asked(runner, built).items():
                    if turn:
                        times.setdefault((what, kind), []).append(took)
        sizes = {
            kind: sum(layer.size for layer in built.layers) / 1e6 for kind, built in images.items()
        }
    rows = [
        (
            what,
            kind,
            f"{statistics.median(found) * 1000:.0f}",
            f"{median_ratio(found, times[what, WITH]):.2f}",
            f"{sizes[kind]:.1f}",
        )
        for (what, kind), found in sorted(times.items())
    ]
    remark = f"scikit-learn's forest; {rounds} starts in turn, in the sandbox, times from inside."
    headings = ("what", "image", "median, ms", "ratio", "image, MB")
    write("bytecode", "Bytecode in the image", headings, rows, remark)


if __name__ == "__main__":
    main()
