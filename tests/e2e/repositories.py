"""Three repositories that know nothing of mlops, as people have them: each is written, committed and
pushed to a bare remote of its own, with a DVC remote where it has DVC."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Repository:
    """A clone, its remote, and the models that mlops should find in it."""

    path: Path
    remote: Path
    models: tuple[str, ...]


def environment(home: Path) -> dict[str, str]:
    """The environment of a person who just installed mlops: no git settings, an empty home."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "MLOPS_", "DVC_"))}
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Rosa\n\temail = rosa@example.com\n[init]\n\tdefaultBranch = main\n"
    )
    cache = kept.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
    return {
        **kept,
        "HOME": str(home),
        "UV_CACHE_DIR": cache,
        "PATH": f"{BIN}{os.pathsep}{kept['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def run(
    directory: Path, env: dict[str, str], *argv: str, code: int = 0, timeout: float = 600.0
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, `timeout` in seconds; its exit code must be `code`."""
    done = subprocess.run(
        argv, cwd=directory, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == code, f"{argv} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def two_models(base: Path, env: dict[str, str]) -> Repository:
    """A monorepo: two directories, each with its dvc.yaml, requirements and data."""
    files = {
        "README.md": "# Two models\n",
        "common/__init__.py": "",
        "common/paths.py": "HERE = '.'\n",
        **_dvc_project("services/churn", "scikit-learn\n", _SKLEARN_TRAIN),
        **_dvc_project("services/fraud", "joblib\n", _PLAIN_TRAIN),
        "services/fraud/rule.py": _RULE,
    }
    return _repository(base, env, files, ("churn", "fraud"), data=("churn", "fraud"))


def foreach(base: Path, env: dict[str, str]) -> Repository:
    """One pipeline with a foreach stage over regions, each giving a model."""
    files = {
        "requirements.txt": "scikit-learn\njoblib\n",
        "params.yaml": "regions: [north, south]\ntrain:\n  depth: 2\n",
        "dvc.yaml": """
            stages:
              prepare:
                cmd: python src/prepare.py
                deps: [src/prepare.py]
                outs: [data/prepared.csv]
              train:
                foreach: ${regions}
                do:
                  cmd: python src/train.py ${item}
                  deps: [src/train.py, data/prepared.csv]
                  params: [train.depth]
                  outs:
                    - models/${item}.joblib
                  metrics:
                    - metrics/${item}.json:
                        cache: false
            """,
        "src/prepare.py": """
            import pathlib
            pathlib.Path("data").mkdir(exist_ok=True)
            rows = [f"{x},{x % 7},{int(x % 7 > 3)}" for x in range(60)]
            pathlib.Path("data/prepared.csv").write_text("\\n".join(rows) + "\\n")
            """,
        "src/train.py": """
            import json, pathlib, sys
            import joblib
            from sklearn.tree import DecisionTreeClassifier

            region = sys.argv[1]
            rows = [list(map(float, line.split(","))) for line in open("data/prepared.csv")]
            rows = rows[:30] if region == "north" else rows[30:]
            model = DecisionTreeClassifier(max_depth=2, random_state=0)
            model.fit([r[:2] for r in rows], [int(r[2]) for r in rows])
            score = model.score([r[:2] for r in rows], [int(r[2]) for r in rows])
            for directory in ("models", "metrics"):
                pathlib.Path(directory).mkdir(exist_ok=True)
            joblib.dump(model, f"models/{region}.joblib")
            pathlib.Path(f"metrics/{region}.json").write_text(json.dumps({"accuracy": score}))
            """,
        ".gitignore": "/data\n/models\n",
    }
    return _repository(base, env, files, ("north", "south"), dvc=True)


def no_dvc(base: Path, env: dict[str, str]) -> Repository:
    """A package with pyproject.toml and a command that trains; no DVC, no metrics stage."""
    files = {
        "pyproject.toml": """
            [build-system]
            requires = ["hatchling"]
            build-backend = "hatchling.build"

            [project]
            name = "pricing"
            version = "0.1.0"
            requires-python = ">=3.11"
            dependencies = ["joblib"]

            [project.scripts]
            train-pricing = "pricing.train:main"
            """,
        "src/pricing/__init__.py": "",
        "src/pricing/model.py": """
            class Line:
                def __init__(self, slope, offset):
                    self.slope, self.offset = slope, offset

                def predict(self, rows):
                    return [self.slope * row[0] + self.offset for row in rows]
            """,
        "src/pricing/train.py": """
            import json
            from pathlib import Path

            import joblib

            from .model import Line

            OUT = Path("artifacts")

            def main(argv=None):
                points = [tuple(map(float, line.split(","))) for line in open("data/prices.csv")]
                n = len(points)
                mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
                slope = sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x, _ in points)
                line = Line(slope, my - slope * mx)
                error = sum(abs(p - y) for p, (_, y) in zip(line.predict(points), points)) / n
                OUT.mkdir(exist_ok=True)
                joblib.dump(line, OUT / "model.joblib")
                (OUT / "metrics.json").write_text(json.dumps({"mae": error}))
            """,
        "data/prices.csv": "".join(f"{x},{3 * x + 1}\n" for x in range(20)),
        ".gitignore": "/artifacts\n",
        "tests/test_line.py": "def test_nothing():\n    pass\n",
    }
    return _repository(base, env, files, ("pricing",))


_SKLEARN_TRAIN = """
    import json, pickle
    from sklearn.linear_model import LogisticRegression

    rows = [list(map(float, line.split(","))) for line in open("data.csv")]
    model = LogisticRegression().fit([r[:2] for r in rows], [int(r[2]) for r in rows])
    with open("model.pkl", "wb") as out:
        pickle.dump(model, out)
    with open("metrics.json", "w") as out:
        json.dump({"accuracy": model.score([r[:2] for r in rows], [int(r[2]) for r in rows])}, out)
    """
_PLAIN_TRAIN = """
    import json, joblib
    from rule import Rule

    rows = [list(map(float, line.split(","))) for line in open("data.csv")]
    rule = Rule(sum(r[0] for r in rows) / len(rows))
    joblib.dump(rule, "model.pkl")
    hits = sum(p == int(r[2]) for p, r in zip(rule.predict(rows), rows))
    with open("metrics.json", "w") as out:
        json.dump({"accuracy": hits / len(rows)}, out)
    """
_RULE = """
    class Rule:
        def __init__(self, bound):
            self.bound = bound

        def predict(self, rows):
            return [int(row[0] > self.bound) for row in rows]
    """
_STAGE = """
    stages:
      train:
        cmd: python train.py
        deps: [train.py, data.csv]
        outs: [model.pkl]
        metrics:
          - metrics.json:
              cache: false
    """


def _dvc_project(directory: str, requirements: str, train: str) -> dict[str, str]:
    rows = "".join(f"{x},{x % 5},{int(x > 20)}\n" for x in range(40))
    return {
        f"{directory}/requirements.txt": requirements,
        f"{directory}/dvc.yaml": _STAGE,
        f"{directory}/train.py": train,
        f"{directory}/data.csv": rows,
    }


def _repository(
    base: Path,
    env: dict[str, str],
    files: dict[str, str],
    models: tuple[str, ...],
    *,
    data: tuple[str, ...] = (),
    dvc: bool = False,
) -> Repository:
    remote, path = base / "remote.git", base / "project"
    run(base, env, "git", "init", "-q", "--bare", "-b", "main", str(remote))
    run(base, env, "git", "clone", "-q", str(remote), str(path))
    run(path, env, "git", "symbolic-ref", "HEAD", "refs/heads/main")
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(textwrap.dedent(text).lstrip("\n"))
    if dvc or data:
        run(path, env, "dvc", "init", "-q")
        run(path, env, "dvc", "remote", "add", "-q", "--default", "store", str(base / "store"))
    for name in data:
        run(path, env, "dvc", "add", "-q", f"services/{name}/data.csv")
    if data:
        run(path, env, "dvc", "push", "-q")
    run(path, env, "git", "add", "-A")
    run(path, env, "git", "commit", "-q", "-m", "Train it")
    run(path, env, "git", "push", "-q", "-u", "origin", "main")
    return Repository(path, remote, models)
