"""What discovery finds in the files of a repository."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.config.discovery import discover
from mlops.config.discovery.kinds import metrics_rank, model_rank
from mlops.config.discovery.naming import called, slug
from mlops.config.discovery.requirements import find
from mlops.config.discovery.scripts import training_scripts
from mlops.config.project import parse_project
from mlops.manifests.scaffold import project


def tree(**files):
    return {
        name.replace("__", "/"): textwrap.dedent(text).lstrip("\n") for name, text in files.items()
    }


def only(files, name="shop"):
    found = discover(files, name)
    assert len(found.models) == 1, found
    return found.models[0]


PIPELINE = """
    stages:
      prepare:
        cmd: python src/prepare.py
        deps: [src/prepare.py, data/raw.csv]
        outs: [data/prepared.pkl]
      train:
        cmd: python src/train.py
        deps: [src/train.py, data/prepared.pkl]
        outs: [models/spam.pkl]
      evaluate:
        cmd: python src/evaluate.py
        deps: [src/evaluate.py, models/spam.pkl]
        metrics:
          - reports/metrics.json: {cache: false}
    """


def test_a_pipeline_gives_its_model_and_metrics():
    files = {
        "dvc.yaml": textwrap.dedent(PIPELINE),
        "src/prepare.py": "",
        "src/train.py": "",
        "src/evaluate.py": "",
        "requirements.txt": "scikit-learn\n",
        "reports/metrics.json": '{"rows": 12, "f1": 0.93}',
        "data/raw.csv": "1\n",
    }
    model = only(files)
    assert model.name == "spam"
    assert model.artifact == "models/spam.pkl"
    assert model.metrics == "reports/metrics.json"
    assert model.metric == "f1"
    assert model.code == ("src",)
    assert model.requirements == "requirements.txt"
    assert model.stages == ()
    assert model.paths == ("src/**", "data/**", "dvc.*", "params.*")


def test_declared_artifacts_decide():
    text = textwrap.dedent(PIPELINE) + textwrap.dedent(
        """
        artifacts:
          Text Filter: {path: data/prepared.pkl, type: model}
          numbers: {path: data/raw.csv, type: dataset}
        """
    )
    model = only({"dvc.yaml": text})
    assert (model.name, model.artifact) == ("text-filter", "data/prepared.pkl")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("[uk, fr]", ["uk", "fr"]),
        ("${regions}", ["north", "south"]),
        ("{uk: {p: models/a.onnx}, fr: {p: models/b.onnx}}", ["uk", "fr"]),
    ],
)
def test_foreach_gives_each_item(items, expected):
    out = "${item.p}" if "p:" in items else "models/${item}.onnx"
    files = tree(
        **{
            "dvc.yaml": f"""
            stages:
              train:
                foreach: {items}
                do:
                  cmd: python t.py
                  deps: [t.py]
                  outs: ["{out}"]
                  metrics: ["scores/${{key}}.json"]
            """,
            "params.yaml": "regions: [north, south]\n",
            "t.py": "",
        }
    )
    models = discover(files, "shop").models
    assert [m.stages[0] for m in models] == [f"train@{name}" for name in expected]
    assert len({m.name for m in models}) == 2
    if "p:" not in items:
        assert [m.name for m in models] == expected
        assert [m.artifact for m in models] == [f"models/{name}.onnx" for name in expected]


def test_foreach_metrics_belong_to_their_item():
    files = tree(
        **{
            "dvc.yaml": """
            stages:
              train:
                foreach: [uk, fr]
                do: {cmd: c, outs: ["models/${item}.pkl"]}
              evaluate:
                foreach: [uk, fr]
                do: {cmd: c, metrics: ["m/${item}.json"]}
            """
        }
    )
    models = discover(files, "shop").models
    assert [(m.name, m.metrics) for m in models] == [("uk", "m/uk.json"), ("fr", "m/fr.json")]
    assert models[0].stages == ("train@uk", "evaluate@uk")


def test_matrix_names_stages_as_dvc_does():
    files = tree(
        **{
            "dvc.yaml": """
            stages:
              train:
                matrix: {kind: [cnn, xgb], size: [1, 2]}
                cmd: c
                outs: ["models/${item.kind}-${item.size}.pt"]
            """
        }
    )
    models = discover(files, "shop").models
    assert [m.stages for m in models] == [
        ("train@cnn-1",),
        ("train@cnn-2",),
        ("train@xgb-1",),
        ("train@xgb-2",),
    ]


def test_two_pipelines_are_two_models_with_their_own_paths():
    stage = "stages: {train: {cmd: c, wdir: ., deps: [train.py, ../shared/f.py], outs: [out/model.pkl]}}\n"
    files = {
        "a/dvc.yaml": stage,
        "b/dvc.yaml": stage,
        "a/train.py": "",
        "b/train.py": "",
        "shared/f.py": "",
        "a/requirements.txt": "x\n",
        "requirements.txt": "y\n",
    }
    one, two = discover(files, "shop").models
    assert (one.name, two.name) == ("a", "b")
    assert one.artifact == "a/out/model.pkl"
    assert one.stages == ("a/dvc.yaml:train",)
    assert (one.requirements, two.requirements) == ("a/requirements.txt", "requirements.txt")
    assert "a/**" in one.paths
    assert "shared/**" in one.paths
    assert not any(path.startswith("b/") for path in one.paths)


def test_unresolved_templates_and_paths_outside_are_left_out():
    files = tree(
        **{
            "dvc.yaml": """
            stages:
              train:
                cmd: c
                outs: ["${nowhere}/model.pkl", ../out/model.pkl, /abs/model.pkl, ok/model.pkl]
            """
        }
    )
    assert only(files).artifact == "ok/model.pkl"


@pytest.mark.parametrize(
    "text", ["", "[", "stages: 3", "stages: {a: 1}", "- x", "\0", "a: &a [*a]"]
)
def test_a_broken_pipeline_is_no_pipeline(text):
    found = discover({"dvc.yaml": text}, "shop")
    assert found.models[0].name == "shop"
    assert any("no DVC pipeline" in line for line in found.missing)


# --- without DVC -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "artifact", "metrics"),
    [
        ('joblib.dump(m, "models/a.joblib")', "models/a.joblib", ""),
        ('pickle.dump(m, open("a.pkl", "wb"))', "a.pkl", ""),
        ('with open("a.pkl", mode="wb") as f: pickle.dump(m, f)', "a.pkl", ""),
        ('OUT = Path("out")\n(OUT / "model.bin").write_bytes(b"")', "out/model.bin", ""),
        ('p = os.path.join("out", "m.onnx")\nopen(p, "wb").write(b"")', "out/m.onnx", ""),
        ('torch.save(m.state_dict(), f"{DIR}/m.pt")\nDIR = "ckpt"', "ckpt/m.pt", ""),
        ('model.save("m.keras")', "m.keras", ""),
        ('booster.save_model("m.ubj")', "m.ubj", ""),
        (
            (
                'parser.add_argument("--model-out", default="m/clf.pkl")\nargs = parser.parse_args()\n'
                'joblib.dump(m, args.model_out)\njson.dump(s, open("metrics.json", "w"))'
            ),
            "m/clf.pkl",
            "metrics.json",
        ),
        (
            (
                'def main(out="o/model.pkl", *, scores=Path("o") / "scores.json"):\n'
                "    joblib.dump(m, out)\n    scores.write_text(json.dumps({}))"
            ),
            "o/model.pkl",
            "o/scores.json",
        ),
        ('open("model.json", "w").write("{}")', "model.json", ""),
    ],
)
def test_what_a_script_writes_is_read_from_its_tree(script, artifact, metrics):
    model = only({"train.py": script})
    assert (model.artifact, model.metrics) == (artifact, metrics)
    assert model.command == ("python", "train.py")


def test_files_beside_the_script_are_found_from_anywhere():
    text = (
        'HERE = Path(__file__).resolve().parent.parent\njoblib.dump(m, HERE / "models" / "x.pkl")\n'
    )
    assert only({"src/shop/train.py": text}).artifact == "src/models/x.pkl"
    text = 'ROOT = Path(__file__).parents[2]\njoblib.dump(m, ROOT / "models/x.pkl")\n'
    assert only({"src/shop/train.py": text}).artifact == "models/x.pkl"


def test_what_is_read_is_not_an_artifact():
    files = {"train.py": 'm = pickle.load(open("old.pkl", "rb"))\njoblib.dump(m, "new.pkl")\n'}
    assert only(files).artifact == "new.pkl"


def test_an_entry_point_of_a_src_package_is_called_by_module():
    files = {
        "pyproject.toml": '[project]\nname="p"\ndependencies=[]\n[project.scripts]\nfit = "pkg.learn:fit"\n',
        "src/pkg/__init__.py": "",
        "src/pkg/learn.py": 'from .m import M\ndef fit():\n    joblib.dump(M(), "model.pkl")\n',
        "src/pkg/m.py": "",
    }
    model = only(files)
    assert model.command == ("python", "-c", "from pkg.learn import fit; fit()")
    assert dict(model.env) == {"PYTHONPATH": "src"}
    assert model.code == ("src",)
    assert model.requirements == "pyproject.toml"
    files["src/pkg/learn.py"] += 'if __name__ == "__main__":\n    fit()\n'
    assert only(files).command == ("python", "-m", "pkg.learn")


def test_directories_with_their_own_dependencies_are_models_of_their_own():
    text = 'rows = open("data.csv")\njoblib.dump(rows, "model.pkl")\n'
    files = {
        f"{name}/{file}": content
        for name in ("north", "south")
        for file, content in (("train.py", text), ("requirements.txt", "x\n"), ("data.csv", ""))
    }
    one, two = discover(files, "shop").models
    assert (one.name, two.name) == ("north", "south")
    assert one.artifact == "north/model.pkl"
    assert one.command == ("sh", "-c", "cd north && exec python train.py")
    assert "!south/" in one.paths
    assert "!north/" not in one.paths
    assert one.code == ("north/train.py",)


def test_an_experiment_below_is_not_a_second_model():
    text = 'joblib.dump(m, "model.pkl")'
    files = {"train.py": text, "experiments/old/train.py": text}
    assert only(files).command == ("python", "train.py")


@pytest.mark.parametrize(
    "text", ["def (", "\0", "x = (" * 500, "", "open()", "a.dump()", "open('x', m)"]
)
def test_a_script_that_cannot_be_read_is_no_harm(text):
    assert discover({"train.py": text}, "shop").models[0].artifact == "models/model.pkl"


def test_nothing_at_all_is_said():
    found = discover({}, "shop")
    said = " ".join(found.missing)
    for part in ("no DVC pipeline", "no requirements.txt", "no metrics file", "no model file"):
        assert part in said


def test_tests_do_not_train():
    assert (
        training_scripts({"tests/train.py": "", "test_train.py": "", "trainer_utils.py": ""}) == ()
    )


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["requirements.txt", "pyproject.toml"], "requirements.txt"),
        (["uv.lock", "pyproject.toml"], "uv.lock"),
        (["pylock.toml", "requirements.txt"], "pylock.toml"),
        (["pyproject.toml"], ""),  # settings of a tool only
        ([], ""),
    ],
)
def test_dependencies_come_from_the_file_that_says_most(there, expected):
    files = dict.fromkeys(there, "[tool.ruff]\n")
    assert find(files, "") == expected


def test_dependencies_are_looked_for_upwards():
    assert find({"a/requirements.txt": "", "requirements.txt": ""}, "a/b/c") == "a/requirements.txt"


# --- names and kinds --------------------------------------------------------------------------------


@given(st.text(max_size=60))
def test_any_name_becomes_one_that_mlops_yaml_takes(text):
    files = {"train.py": 'joblib.dump(m, "model.pkl")\n'}
    found = discover(files, slug(text))
    parse_project(project(slug(text), "main", found.models, {}).encode())


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [
        ("models/spam.pkl", "", "spam"),
        ("models/spam_model.pkl", "", "spam"),
        ("model.pkl", "services/churn", "churn"),
        ("models/best.pt", "", "shop"),
        ("out/mlops.pkl", "", "mlops-model"),
    ],
)
def test_a_model_is_called_after_what_tells_it_apart(path, directory, expected):
    assert called(path, directory, "shop") == expected


def test_models_of_one_name_are_numbered():
    stage = "stages: {train: {cmd: c, outs: [spam.pkl]}}\n"
    names = [m.name for m in discover({"a/dvc.yaml": stage, "b/dvc.yaml": stage}, "s").models]
    assert names == ["spam", "spam-2"]


def test_kinds():
    assert model_rank("models/a.pkl") == 3
    assert model_rank("model.json") == 2
    assert model_rank("data/train.pkl") < model_rank("clf.pkl")
    assert model_rank("metrics.json") == model_rank("data.csv") == model_rank("notes.txt") == 0
    assert metrics_rank("metrics.json") > metrics_rank("eval_report.json") > 0
    assert metrics_rank("metrics.csv") == 0


_TEXT = st.text(alphabet="abc/.{}$[]:- \n'\"", max_size=80)


@given(dvc=_TEXT, script=_TEXT, toml=_TEXT)
def test_no_content_breaks_discovery(dvc, script, toml):
    files = {"dvc.yaml": dvc, "train.py": script, "pyproject.toml": toml, "a/dvc.yaml": dvc}
    found = discover(files, "shop")
    parse_project(project("shop", "main", found.models, {}).encode())
