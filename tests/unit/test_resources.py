"""Packaged data is found in a checkout, and in a wheel."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mlops
from mlops import resources
from mlops.errors import MlopsError


def test_a_checkout_has_it_at_its_top():
    assert resources.content("tekton/pipeline.yaml").startswith(b"#")
    assert resources.path("tekton/tasks").is_dir()


def test_what_is_missing_is_named():
    with pytest.raises(MlopsError, match="lacks tekton/nothing"):
        resources.path("tekton/nothing.yaml")


def test_a_wheel_has_it_in_the_package(tmp_path):
    package = Path(mlops.__file__).parent
    (tmp_path / "mlops/_data/tekton").mkdir(parents=True)
    for name in ("__init__.py", "resources.py", "errors.py"):
        shutil.copy(package / name, tmp_path / "mlops")
    (tmp_path / "mlops/_data/tekton/x.yaml").write_text("in the wheel")
    code = "from mlops import resources; print(resources.content('tekton/x.yaml').decode())"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "in the wheel\n"
