"""train, validate, push and package: commands in the environment image, and hostile trees."""

import hashlib
import json
import re
import shutil

import pytest

from mlops.adapters.layout import OciLayout
from mlops.domain.digest import ReleaseId
from mlops.errors import ConfigError, RefusedError


def yaml_of(run, old="", new=""):
    text = (run.play.work / "mlops.yaml").read_text()
    assert old in text
    return {"mlops.yaml": text.replace(old, new)}


def rerecord(run, path, content):
    """Write an output as a stage would, and have dvc.lock record it."""
    (run.source / path).write_bytes(content)
    lock = run.source / "dvc.lock"
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    pattern = rf"(path: {re.escape(path)}\n\s+hash: md5\n\s+md5: )\w+"
    text, count = re.subn(pattern, rf"\g<1>{md5}", lock.read_text())
    assert count >= 1
    lock.write_text(text)


# -- train


def test_commands_see_the_allowed_variables_and_no_secret(play, capfd, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    script = (
        "import os, pathlib\n"
        "seen = {k: v for k, v in os.environ.items()}\n"
        "pathlib.Path('models').mkdir(exist_ok=True)\n"
        "pathlib.Path('models/spam.txt').write_text(repr(sorted(seen.items())))\n"
        "pathlib.Path('metrics.json').write_text('{}')\n"
    )
    run = play.run(source=play.commit({"src/train.py": script})).upto("train")
    seen = dict(eval((run.source / "models/spam.txt").read_text()))  # noqa: S307 - our own repr
    committed = play.git("log", "-1", "--format=%ct")
    assert seen["GREETING"] == "hello"
    assert seen["DVC_STAGE"] == "train"
    assert seen["PYTHONHASHSEED"] == "0"
    assert seen["SOURCE_DATE_EPOCH"] == committed
    assert "hunter2" not in seen.values()
    assert not any(name.startswith(("MLOPS_", "PARAM_")) for name in seen)
    out = capfd.readouterr().out
    assert "Running stage 'prepare'" in out
    assert "> python src/train.py" in out


def test_a_failing_stage_is_named_with_its_code(play, capfd):
    files = {"src/prepare.py": "import sys; print('so far'); sys.exit('no such column')\n"}
    run = play.run(source=play.commit(files)).upto("data")
    run.step("build")
    with pytest.raises(RefusedError, match=r"^stage prepare failed \(exit 1\)"):
        run.step("train")
    assert "so far\nno such column" in capfd.readouterr().out


def test_dvcs_own_complaint_comes_through(play):
    files = {"dvc.yaml": "stages:\n  train:\n    cmd: 'true'\n    deps: [gone.csv]\n"}
    run = play.run(source=play.commit(files)).upto("build")
    with pytest.raises(RefusedError, match=r"dvc repro failed .*gone\.csv"):
        run.step("train")


def test_a_project_without_dvc_trains_by_its_command(play, capfd):
    old = "train: {env: {GREETING: hello}}"
    new = "train: {command: [sh, -c, 'mkdir models; echo $GREETING >models/spam.txt; pwd']}"
    text = (
        (play.work / "mlops.yaml")
        .read_text()
        .replace(old, new)
        .replace("    metrics: metrics.json\n", "")
    )
    text = re.sub(r"    gates:\n(?:      - .*\n)+", "", text)
    play.git("rm", "-rq", ".dvc", ".dvcignore", "dvc.yaml", "data")
    run = play.run(source=play.commit({"mlops.yaml": text})).upto("propose")
    assert str(run.source) in capfd.readouterr().out
    assert run.results["propose"]["pinned"] == "true"
    document = play.record(run.results["package"]["release"]).document
    assert document["dvc"] is None
    assert document["data"] == []
    assert document["artifact"]["md5"] == hashlib.md5(b"hello\n", usedforsecurity=False).hexdigest()
    assert play.git("tag") == ""


def test_a_failing_command_without_dvc(play):
    old = "train: {env: {GREETING: hello}}"
    text = (play.work / "mlops.yaml").read_text().replace(old, "train: {command: [sh, -c, exit 3]}")
    run = play.run(source=play.commit({"mlops.yaml": text})).upto("build")
    with pytest.raises(RefusedError, match=r"^train\.command failed \(exit 3\)"):
        run.step("train")


# -- validate


def test_a_failing_gate_says_its_number(run):
    source = run.play.commit(yaml_of(run, "min: 0.5", "min: 0.9"))
    with pytest.raises(RefusedError, match=r"^gate accuracy ≥ 0\.9: 0\.75$"):
        run.again(source=source).step("validate")
    verdicts = json.loads((run.state / "verdicts.json").read_text())
    assert [verdict["verdict"].partition(":")[0] for verdict in verdicts] == ["fail", "pass"]


def test_a_gate_compares_with_what_the_environment_pins(run):
    document = {
        "schema": "mlops/release/v1",
        "release": f"spam@sha256:{'c' * 64}",
        "source": {"commit": str(run.play.head())},
        "metrics": {"accuracy": 0.99},
    }
    pin = run.play.tip("environments/dev/kustomization.yaml")
    run.play.commit(
        {
            "environments/dev/kustomization.yaml": f"{pin}\n  - name: spam\n    digest: sha256:{'c' * 64}\n",
            f"environments/releases/spam/{'c' * 64}.json": json.dumps(document),
        }
    )
    with pytest.raises(RefusedError, match=r"falls by 0\.2 at most: 0\.75, it went from 0\.99"):
        run.step("validate")


def test_an_environments_own_gates_count(run):
    policy = "apiVersion: mlops/v1\nkind: Environment\ngates: [{metric: f1, min: 0.1}]\n"
    run.play.commit({"environments/dev/environment.yaml": policy})
    with pytest.raises(RefusedError, match=r"gate f1 ≥ 0\.1: the metrics have no f1"):
        run.step("validate")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "not JSON"),
        (b'{"accuracy": NaN}', "accuracy is nan"),
        (b"[]", "metrics are an object"),
        (b'{"accuracy": "0.9"}', "not a finite number"),
        (b'{"a":' * 9000 + b"1" + b"}" * 9000, "nested too deep"),
    ],
)
def test_metrics_that_are_none(run, content, complaint):
    rerecord(run, "metrics.json", content)
    with pytest.raises((RefusedError, ConfigError), match=complaint):
        run.step("validate")


def test_metrics_that_no_stage_writes(run):
    source = run.play.commit(yaml_of(run, "metrics: metrics.json", "metrics: scores.json"))
    with pytest.raises(ConfigError, match=r"scores\.json: the metrics file is not there"):
        run.again(source=source).step("validate")


@pytest.mark.parametrize("path", ["models/spam.txt", "metrics.json", "dvc.lock"])
def test_a_link_in_place_of_an_output_is_refused_by_name(run, tmp_path, path):
    secret = tmp_path / "token"
    shutil.move(run.source / path, secret)
    (run.source / path).symlink_to(secret)
    with pytest.raises(RefusedError, match=f"{re.escape(path)}.* symlink"):
        run.step("validate")


def test_a_linked_directory_on_the_way_is_refused(run, tmp_path):
    shutil.move(run.source / "models", tmp_path / "elsewhere")
    (run.source / "models").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match=r"models/spam\.txt.* symlink"):
        run.step("validate")


def test_an_output_that_changed_after_dvc_recorded_it_is_refused(run):
    (run.source / "models/spam.txt").write_text("swapped")
    with pytest.raises(RefusedError, match=r"models/spam\.txt .* not what dvc\.lock records"):
        run.step("validate")


def test_an_output_that_is_gone_is_named(run):
    (run.source / "models/spam.txt").unlink()
    with pytest.raises(RefusedError, match=r"models/spam\.txt.* is not there"):
        run.step("validate")


def test_an_artifact_that_nobody_declares_is_refused(run):
    (run.source / "models/other.txt").write_text("smuggled")
    source = run.play.commit(yaml_of(run, "models/spam.txt", "models/other.txt"))
    with pytest.raises(
        RefusedError, match=r"models/other\.txt is no output that dvc\.yaml declares"
    ):
        run.again(source=source).step("validate")


def test_a_committed_file_may_be_the_model(run):
    source = run.play.commit(yaml_of(run, "models/spam.txt", "src/train.py"))
    run.again(source=source).step("validate")
    assert json.loads((run.state / "artifact.json").read_text())["path"] == "src/train.py"


def test_a_model_without_an_artifact_is_a_matter_of_configuration(run):
    source = run.play.commit(yaml_of(run, "    artifact: models/spam.txt\n"))
    with pytest.raises(ConfigError, match=r"models\.spam has no artifact"):
        run.again(source=source).step("validate")


def test_nothing_was_ever_trained(run):
    (run.source / "dvc.lock").unlink()
    with pytest.raises(RefusedError, match="no stage of spam was ever run"):
        run.step("validate")


# -- push


def stored(root):
    return {path.name for path in root.rglob("*") if path.is_file()}


def test_outputs_go_to_the_remote_of_the_source_whatever_training_planted(run, tmp_path):
    evil = tmp_path / "evil"
    url = f"['remote \"store\"']\n    url = {evil}\n"
    (run.source / ".dvc/config.local").write_text(url)
    (run.source / ".dvc/config").write_text(f"[core]\n    remote = store\n{url}")
    (run.source / "dvc.yaml").write_text("stages: {}\n")
    (run.source / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    store = run.play.root / "dvc-store"
    before = stored(store)
    for path in (store / "files/md5").iterdir():
        shutil.rmtree(path)
    run.step("push")
    md5s = {each["md5"][2:] for each in json.loads((run.state / "outputs.json").read_text())
            if each["cached"]}  # fmt: skip
    assert md5s
    assert stored(store) == md5s  # declared outputs that DVC versions, and nothing else
    assert md5s < before
    assert not evil.exists()


def test_without_a_remote_push_says_so(run, capsys):
    source = run.play.commit({".dvc/config": ""})
    run.again(source=source).step("push")
    assert "no DVC remote: the outputs are in the release image alone" in capsys.readouterr().out


# -- package


def layers(run):
    manifest = OciLayout(run.play.registry).manifest(
        ReleaseId.parse(run.results["package"]["release"]).digest
    )
    return json.loads(manifest)["layers"]


def test_the_same_inputs_give_the_same_image(run):
    release = run.results["package"]
    run.step("package")
    assert run.results["package"] == release
    assert release["IMAGE_URL"] == "spam"
    assert release["release"] == f"spam@{release['IMAGE_DIGEST']}"


def test_code_is_of_the_commit_not_of_the_tree_that_training_wrote(run):
    release = run.results["package"]
    (run.source / "src/train.py").write_text("import os; os.system('evil')\n")
    (run.source / "src/backdoor.py").write_text("evil\n")
    run.step("validate")
    run.step("package")
    assert run.results["package"] == release


def test_the_model_in_the_image_is_the_one_that_was_validated(run):
    release = run.results["package"]
    (run.source / "models/spam.txt").unlink()
    (run.source / "models/spam.txt").write_text("late")
    run.step("package")
    assert run.results["package"] == release


def test_results_fit_tektons_4_kb(run):
    assert sum(len(v) for each in run.results.values() for v in each.values()) < 1500
