"""Impact and plan: what a change means, and the words it is told in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest

from mlops.domain.digest import Digest
from mlops.domain.lock import LockedImage, ProjectLock
from mlops.domain.pipeline import ParamsDep, Stage, StageOut
from mlops.domain.plan import Impact, Kind, Plan
from mlops.domain.project import BuildConfig, ModelConfig, ServeConfig, TrainConfig
from mlops.domain.source import Commit
from mlops.domain.view import Pipeline, SourceView, Tree
from mlops.errors import ConfigError
from mlops.policy import plan, sides
from mlops.policy.hashes import directory_md5, file_md5
from mlops.policy.impact import assess
from mlops.policy.stale import in_scope

OLD, NEW = Commit("1" * 40), Commit("2" * 40)

STAGES = (
    Stage(
        "prepare",
        ("prep",),
        deps=("data/train.csv", "src/prep.py"),
        outs=(StageOut("data/clean.csv"),),
    ),
    Stage(
        "train",
        ("python src/train.py",),
        deps=("data/clean.csv", "src/train.py"),
        params=(ParamsDep("params.yaml", ("train",)),),
        outs=(StageOut("models/spam.pkl"), StageOut("metrics.json", cached=False)),
    ),
    Stage("other", ("other",), deps=("other/in.txt",), outs=(StageOut("other/out.txt"),)),
)
MODEL = ModelConfig(
    "spam",
    paths=("src/**", "data/**", "dvc.*", "params.yaml"),
    build=BuildConfig(requirements="requirements.txt", code=("src",)),
    train=TrainConfig(stages=("train",)),
    artifact="models/spam.pkl",
    metrics="metrics.json",
)
FILES = {
    "docs/index.md": b"docs",
    "README.md": b"readme",
    "src/prep.py": b"prep",
    "src/train.py": b"train",
    "src/serve.py": b"serve",
    "other/in.txt": b"in",
    "params.yaml": b"train: {depth: 3, lr: 1e-3}\nunread: 1\n",
    "metrics.json": b"{}",
    "dvc.yaml": b"# the graph is given to the tests",
    "data/train.csv.dvc": b"outs:\n- {path: train.csv, hash: md5, md5: 3f2a0000000000000000000000000000}\n",
    "requirements.lock": b"scikit-learn==1.7.1 \\\n    --hash=sha256:aa\nnumpy==2.0\n",
    "mlops.yaml": b"as given to the tests",
    "mlops.lock": b"as given to the tests",
}


def lock(files: dict[str, bytes]) -> bytes:
    """The dvc.lock that DVC would have written for these files."""
    md5 = {path: file_md5(content) for path, content in files.items()}
    return f"""
schema: '2.0'
stages:
  prepare:
    cmd: prep
    deps:
    - {{path: data/train.csv, hash: md5, md5: 3f2a0000000000000000000000000000}}
    - {{path: src/prep.py, hash: md5, md5: {md5["src/prep.py"]}}}
    outs:
    - {{path: data/clean.csv, hash: md5, md5: '00000000000000000000000000000001'}}
  train:
    cmd: python src/train.py
    deps:
    - {{path: data/clean.csv, hash: md5, md5: '00000000000000000000000000000001'}}
    - {{path: src/train.py, hash: md5, md5: {md5["src/train.py"]}}}
    params:
      params.yaml:
        train: {{depth: 3, lr: 0.001}}
    outs:
    - {{path: metrics.json, hash: md5, md5: {md5["metrics.json"]}}}
    - {{path: models/spam.pkl, hash: md5, md5: '00000000000000000000000000000002'}}
  other:
    cmd: other
    deps:
    - {{path: other/in.txt, hash: md5, md5: {md5["other/in.txt"]}}}
    outs:
    - {{path: other/out.txt, hash: md5, md5: '00000000000000000000000000000003'}}
""".encode()


@dataclass(frozen=True)
class Project:
    """One source, for the tests: all that a view is made from."""

    files: dict[str, bytes]
    stages: tuple[Stage, ...] = STAGES
    model: ModelConfig = MODEL
    base: str = "12"
    tools: tuple[tuple[str, str], ...] = (("zlib-ng", "1.0"),)

    def tree(self) -> Tree:
        names = {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}
        contents = {names[path]: content for path, content in self.files.items()}
        return Tree(names, contents.__getitem__)

    def side(self, commit: Commit) -> sides.Side:
        digest = Digest((self.base * 32)[:64])
        image = LockedImage("host", "base-host", digest, digest, "linux/amd64")
        return sides.side(commit, self.tree(), self.model, ProjectLock((image,), self.tools))


BEFORE = Project(FILES | {"dvc.lock": lock(FILES)})


def with_files(files: dict[str, bytes | None]) -> Project:
    """BEFORE with files written, or (None) taken away."""
    found = {p: c for p, c in (BEFORE.files | files).items() if c is not None}
    return replace(BEFORE, files=found)


def view(now: Project, before: Project | None = BEFORE, **more: object) -> SourceView:
    return replace(
        SourceView(
            model="spam",
            source=now.side(NEW),
            since=before.side(OLD) if before else None,
            pipeline=sides.pipeline(now.tree(), now.stages, now.model.train.stages),
            paths=now.model.paths,
            code=now.model.build.code,
            lock=now.model.build.lock,
            base_name=now.model.build.base,
            command=bool(now.model.train.command),
            artifact=now.model.artifact or "",
            recorded="0" * 31 + "2",
        ),
        **more,  # type: ignore[arg-type]
    )


def impact(now: Project, before: Project | None = BEFORE, **more: object) -> Impact:
    return assess(view(now, before, **more))


def planned(now: Project, before: Project | None = BEFORE) -> Plan:
    since = OLD if before else None
    return plan.decide("spam", NEW, since, impact(now, before), environment="dev")


def texts(found: Impact) -> list[str]:
    return [change.text for change in found.changes]


def steps(found: Plan) -> list[str]:
    return [step.name for step in found.steps]


def test_nothing_changed() -> None:
    found = planned(BEFORE)
    assert found.nothing
    assert found.summary == "nothing to do: nothing changed since 1111111"


def test_only_docs() -> None:
    found = planned(with_files({"docs/index.md": b"x"}))
    assert found.nothing
    assert found.summary == "nothing to do: only docs/ changed"


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["docs/a", "docs/b/c"], "only docs/ changed"),
        (["README.md", "docs/a"], "only README.md and docs/ changed"),
        (["a", "b", "c", "d/x"], "only a, b, c and d/ changed"),
        (["a", "b", "c", "d", "e", "f"], "only a, b, c and 3 more changed"),
    ],
)
def test_unrelated_paths_are_collapsed(paths: list[str], said: str) -> None:
    found = plan.decide("spam", NEW, OLD, Impact(unrelated=tuple(paths)))
    assert found.summary == f"nothing to do: {said}"


def test_data_retrains_without_rebuilding() -> None:
    now = with_files({"data/train.csv.dvc": FILES["data/train.csv.dvc"].replace(b"3f2a", b"91bc")})
    found = planned(now)
    assert texts(found.impact) == ["data/train.csv: 3f2a… → 91bc…"]
    assert found.impact.changes[0].kind is Kind.DATA
    assert found.impact.stale == (
        ("prepare", "data/train.csv: 3f2a… → 91bc…"),
        ("train", "follows prepare"),
    )
    assert steps(found) == ["train", "validate", "package", "pin"]
    assert found.steps[0].reason == "data/train.csv: 3f2a… → 91bc…"
    assert found.steps[-1].reason == "dev receives every release"
    assert found.impact.unrelated == ()


def test_dependencies_rebuild_without_retraining() -> None:
    now = with_files({"requirements.lock": FILES["requirements.lock"].replace(b"1.7.1", b"1.7.2")})
    found = planned(now)
    assert texts(found.impact) == ["requirements.lock: scikit-learn 1.7.1 → 1.7.2"]
    assert steps(found) == ["build", "validate", "package", "pin"]
    assert found.kept == (
        "the model stays as it is, trained with other packages; to train anew with these, "
        "add requirements.lock to the deps of its stage in dvc.yaml"
    )
    assert found.steps[1].reason == found.kept


def test_another_base_leaves_the_model_and_says_so() -> None:
    found = planned(replace(BEFORE, base="13"))
    assert steps(found) == ["build", "validate", "package", "pin"]
    assert "trained on another base" in found.kept
    assert "add mlops.lock to the deps" in found.kept


def test_of_a_model_that_no_stage_trains_no_advice_on_dvc_is_given() -> None:
    now = with_files({"requirements.lock": FILES["requirements.lock"].replace(b"1.7.1", b"1.7.2")})
    found = plan.decide("spam", NEW, OLD, impact(now), stages=False)
    assert found.kept == "the model stays as it is, trained with other packages"


def test_a_lock_that_a_stage_names_trains_anew_as_is_advised() -> None:
    old = file_md5(FILES["requirements.lock"]).encode()
    at = b"    - {path: src/train.py"
    entry = b"    - {path: requirements.lock, hash: md5, md5: " + old + b"}\n"
    stages = tuple(
        replace(s, deps=(*s.deps, "requirements.lock")) if s.name == "train" else s for s in STAGES
    )
    files = FILES | {"dvc.lock": lock(FILES).replace(at, entry + at)}
    before = replace(BEFORE, files=files, stages=stages)
    assert planned(before, before).nothing
    other = FILES["requirements.lock"].replace(b"1.7.1", b"1.7.2")
    found = planned(replace(before, files=files | {"requirements.lock": other}), before)
    assert steps(found) == ["build", "train", "validate", "package", "pin"]
    assert found.kept == ""


@pytest.mark.parametrize("path", ["src/serve.py", "params.yaml"])
def test_where_packages_and_base_stand_nothing_is_said_of_the_model(path: str) -> None:
    assert planned(with_files({path: b"train: {depth: 5, lr: 1e-3}\n"})).kept == ""


def test_packages_added_and_taken_away() -> None:
    now = with_files({"requirements.lock": b"scikit-learn==1.7.1\npolars==1.0\n"})
    assert texts(impact(now)) == [
        "requirements.lock: numpy 2.0 is gone",
        "requirements.lock: polars 1.0 is new",
    ]


def test_other_hashes_of_the_same_packages_are_another_image() -> None:
    now = with_files({"requirements.lock": FILES["requirements.lock"].replace(b"aa", b"bb")})
    assert texts(impact(now)) == ["requirements.lock changed"]
    assert steps(planned(now))[0] == "build"


def test_a_parameter_is_named_down_to_its_leaf() -> None:
    now = with_files({"params.yaml": FILES["params.yaml"].replace(b"depth: 3", b"depth: 5")})
    found = planned(now)
    assert texts(found.impact) == ["params.yaml: train.depth 3 → 5"]
    assert found.impact.stale == (("train", "params.yaml: train.depth 3 → 5"),)
    assert steps(found) == ["train", "validate", "package", "pin"]


def test_a_parameter_that_no_stage_reads_concerns_nobody() -> None:
    now = with_files({"params.yaml": FILES["params.yaml"].replace(b"unread: 1", b"unread: 2")})
    assert planned(now).summary == "nothing to do: only params.yaml changed"


def test_a_parameter_file_that_no_stage_reads_is_a_file_like_others() -> None:
    stages = tuple(replace(stage, params=()) for stage in STAGES)
    now = replace(with_files({"params.yaml": b"x: 1\n"}), stages=stages)
    assert texts(impact(now, replace(BEFORE, stages=stages))) == ["params.yaml changed"]


def test_code_that_a_stage_reads_retrains() -> None:
    found = planned(with_files({"src/train.py": b"better"}))
    assert texts(found.impact) == ["src/train.py changed"]
    assert found.impact.stale == (("train", "src/train.py changed"),)


def test_code_that_no_stage_reads_is_packaged_anew() -> None:
    found = planned(with_files({"src/serve.py": b"better"}))
    assert texts(found.impact) == ["src/serve.py changed"]
    assert steps(found) == ["validate", "package", "pin"]


def test_a_directory_dependency_names_the_files_that_changed() -> None:
    stage = replace(STAGES[1], deps=("src",))
    recorded = directory_md5(
        {p.removeprefix("src/"): file_md5(FILES[p]) for p in FILES if p.startswith("src/")}
    )
    locked = BEFORE.files["dvc.lock"].replace(
        f"path: src/train.py, hash: md5, md5: {file_md5(FILES['src/train.py'])}".encode(),
        f"path: src, hash: md5, md5: {recorded}".encode(),
    )
    before = replace(BEFORE, stages=(stage,), files=BEFORE.files | {"dvc.lock": locked})
    assert impact(before, before) == Impact()
    now = replace(before, files=before.files | {"src/train.py": b"x", "src/new.py": b"y"})
    assert impact(now, before).stale == (("train", "src/new.py changed; src/train.py changed"),)


def test_a_command_is_told_by_its_stage() -> None:
    stages = (STAGES[0], replace(STAGES[1], cmd=("python src/train.py --fast",)), STAGES[2])
    now = replace(with_files({"dvc.yaml": b"edited"}), stages=stages)
    found = planned(now)
    assert texts(found.impact) == ["dvc.yaml: stage train: cmd changed"]
    assert found.impact.changes[0].kind is Kind.PIPELINE
    assert steps(found)[0] == "train"


def test_a_comment_in_dvc_yaml_is_nothing() -> None:
    assert (
        planned(with_files({"dvc.yaml": b"edited"})).summary
        == "nothing to do: only dvc.yaml changed"
    )


def test_what_belongs_to_another_model_of_the_monorepo() -> None:
    found = planned(with_files({"other/in.txt": b"x"}))
    assert found.summary == "nothing to do: only other/ changed"
    model = replace(MODEL, paths=("**",))
    found = planned(
        replace(with_files({"other/in.txt": b"x"}), model=model), replace(BEFORE, model=model)
    )
    assert found.summary == "nothing to do: only other/ changed", (
        "a stage of another model reads it"
    )


def test_without_targets_every_stage_counts() -> None:
    model = replace(MODEL, train=TrainConfig())
    now = replace(with_files({"other/in.txt": b"x"}), model=model)
    assert impact(now, replace(BEFORE, model=model)).stale == (("other", "other/in.txt changed"),)


def test_a_target_that_is_no_stage_is_named_with_the_nearest() -> None:
    now = replace(BEFORE, model=replace(MODEL, train=TrainConfig(stages=("trian",))))
    with pytest.raises(ConfigError, match=r"no stage 'trian'.*Did you mean train\?"):
        impact(now)


def test_a_group_and_a_file_are_targets() -> None:
    stages = (
        Stage("a@1", ("x",), outs=(StageOut("1"),)),
        Stage("a@2", ("x",), outs=(StageOut("2"),)),
        Stage("sub/dvc.yaml:b", ("x",), deps=("1",), outs=(StageOut("sub/b"),)),
        Stage("c", ("x",), outs=(StageOut("c"),)),
    )

    def scope(*targets: str) -> list[str]:
        return [stage.name for stage in in_scope(Pipeline(stages, targets))]

    assert scope("a") == ["a@1", "a@2"]
    assert scope("a@2") == ["a@2"]
    assert scope("sub/dvc.yaml") == ["a@1", "sub/dvc.yaml:b"]
    assert scope("dvc.yaml") == ["a@1", "a@2", "c"]


def test_a_frozen_stage_needs_nothing_and_never_runs() -> None:
    frozen = (STAGES[0], replace(STAGES[1], frozen=True), STAGES[2])
    now = replace(with_files({"src/train.py": b"x"}), stages=frozen)
    found = impact(now)
    assert found.stale == ()
    assert texts(found) == ["src/train.py changed"], "it is packaged code still"


def test_a_stage_that_always_runs_does() -> None:
    stages = (STAGES[0], replace(STAGES[1], always_changed=True), STAGES[2])
    found = planned(replace(with_files({"docs/index.md": b"x"}), stages=stages))
    assert steps(found) == ["train", "validate", "package", "pin"]
    assert found.steps[0].reason == "dvc.yaml: stage train always runs"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "metrics.json is not there"), (b"x", "metrics.json differs from dvc.lock")],
)
def test_an_uncached_output_forces_its_stage(content: bytes | None, said: str) -> None:
    assert impact(with_files({"metrics.json": content})).stale == (("train", said),)


def test_an_output_that_the_remote_lacks_is_made_again() -> None:
    pipeline = replace(view(BEFORE).pipeline, absent=frozenset({"models/spam.pkl"}))
    found = impact(BEFORE, pipeline=pipeline)
    assert found.stale == (("train", "models/spam.pkl is not on the DVC remote"),)


def test_a_setting_is_named_by_its_key() -> None:
    now = replace(BEFORE, model=replace(MODEL, serve=ServeConfig(port=9090)))
    now = replace(now, files=now.files | {"mlops.yaml": b"edited"})
    found = planned(now)
    assert texts(found.impact) == ["mlops.yaml: models.spam.serve.port 8080 → 9090"]
    assert steps(found) == ["validate", "package", "pin"]
    assert found.impact.unrelated == ()


def test_how_training_runs_is_no_release() -> None:
    now = replace(
        BEFORE, model=replace(MODEL, train=replace(MODEL.train, timeout=60.0, network=True))
    )
    now = replace(now, files=now.files | {"mlops.yaml": b"edited"})
    assert planned(now).summary == "nothing to do: only mlops.yaml changed"


def test_the_base_rebuilds() -> None:
    now = replace(BEFORE, base="56", files=BEFORE.files | {"mlops.lock": b"edited"})
    found = planned(now)
    assert texts(found.impact) == ["base host: 1212… → 5656…"]
    assert steps(found) == ["build", "validate", "package", "pin"]
    assert found.impact.unrelated == ()


def test_a_tool_of_the_builder_rebuilds() -> None:
    found = planned(replace(BEFORE, tools=(("zlib-ng", "1.1"),)))
    assert texts(found.impact) == ["mlops.lock: zlib-ng 1.0 → 1.1"]
    assert steps(found)[0] == "build"


def test_build_settings_rebuild_but_the_list_of_code_does_not() -> None:
    build = replace(MODEL.build, platforms=("linux/arm64",))
    assert steps(planned(replace(BEFORE, model=replace(MODEL, build=build))))[0] == "build"
    build = replace(MODEL.build, code=("src", "lib"))
    assert "build" not in steps(planned(replace(BEFORE, model=replace(MODEL, build=build))))


def test_a_first_release_does_everything_that_is_stale() -> None:
    fresh = replace(BEFORE, files={p: c for p, c in BEFORE.files.items() if p != "dvc.lock"})
    found = planned(fresh, None)
    assert steps(found) == ["build", "train", "validate", "package", "pin"]
    assert {step.reason for step in found.steps[:-1]} == {"first release of spam"}
    assert found.summary == "first release of spam"
    assert found.since is None


def test_a_first_release_of_a_model_that_was_trained_already_trains_nothing() -> None:
    assert steps(planned(BEFORE, None)) == ["build", "validate", "package", "pin"]


def test_a_model_that_somebody_trained_elsewhere_is_released_untrained() -> None:
    locked = BEFORE.files["dvc.lock"].replace(b"0" * 31 + b"2", b"ab" * 16)
    found = planned(with_files({"dvc.lock": locked}))
    assert texts(found.impact) == ["models/spam.pkl: 0000… → abab…"]
    assert steps(found) == ["validate", "package", "pin"]


def test_the_recorded_lock_merged_by_hand_is_nothing() -> None:
    found = planned(with_files({"dvc.lock": BEFORE.files["dvc.lock"] + b"# merged\n"}))
    assert found.summary == "nothing to do: only dvc.lock changed"


COMMAND = replace(MODEL, train=TrainConfig(command=("python", "src/train.py")))


@pytest.mark.parametrize(
    ("path", "trains"),
    [
        ("src/serve.py", True),
        ("params.yaml", True),
        ("requirements.lock", True),
        ("docs/index.md", False),
    ],
)
def test_without_dvc_whatever_concerns_the_model_trains_it(path: str, trains: bool) -> None:
    before = replace(BEFORE, stages=(), model=COMMAND)
    now = replace(before, files=before.files | {path: b"scikit-learn==2.0\n"})
    assert ("train" in steps(planned(now, before))) is trains


def test_without_dvc_serving_alone_does_not_train() -> None:
    before = replace(BEFORE, stages=(), model=COMMAND)
    now = replace(before, model=replace(COMMAND, serve=ServeConfig(port=1)))
    assert steps(planned(now, before)) == ["validate", "package", "pin"]
    env = replace(COMMAND, train=replace(COMMAND.train, env=(("SEED", "1"),)))
    assert "train" in steps(planned(replace(before, model=env), before))


def test_with_neither_the_model_is_only_packaged() -> None:
    model = replace(MODEL, train=TrainConfig())
    before = replace(BEFORE, stages=(), model=model)
    assert steps(planned(before, None)) == ["build", "validate", "package", "pin"]
    now = replace(before, files=before.files | {"src/serve.py": b"x"})
    assert steps(planned(now, before)) == ["validate", "package", "pin"]


def test_a_versioned_model_without_a_pipeline_is_its_own_change() -> None:
    model = replace(MODEL, paths=("src/**",), train=TrainConfig(), artifact="models/given.pkl")
    tracker = b"outs:\n- {path: given.pkl, hash: md5, md5: aaaa0000000000000000000000000000}\n"
    files = BEFORE.files | {"models/given.pkl.dvc": tracker}
    before = replace(BEFORE, stages=(), model=model, files=files)
    now = replace(before, files=files | {"models/given.pkl.dvc": tracker.replace(b"aaaa", b"bbbb")})
    assert texts(impact(now, before)) == ["models/given.pkl: aaaa… → bbbb…"]


def test_many_reasons_are_counted() -> None:
    assert plan.shortened(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"


def test_nothing_is_pinned_where_no_environment_is_given() -> None:
    found = plan.decide("spam", NEW, OLD, impact(with_files({"src/serve.py": b"x"})))
    assert steps(found) == ["validate", "package"]


# -- which dvc.lock is in force


def test_the_recorded_lock_is_in_force_until_the_user_s_own_changes() -> None:
    recorded = {"dvc.lock": b"recorded", "metrics.json": b"recorded metrics"}
    laid = sides.overlay(BEFORE.tree(), BEFORE.tree(), recorded)
    assert laid.content("dvc.lock") == b"recorded"
    assert laid.content("metrics.json") == b"recorded metrics"
    own = with_files({"dvc.lock": b"the user's"})
    laid = sides.overlay(own.tree(), BEFORE.tree(), recorded)
    assert laid.content("dvc.lock") == b"the user's"
    assert laid.content("metrics.json") == FILES["metrics.json"]
    assert sides.effective_locks(BEFORE.tree(), BEFORE.tree(), recorded) == {"dvc.lock"}


def test_a_recorded_output_that_the_user_changed_stays_theirs() -> None:
    own = with_files({"metrics.json": b"theirs"})
    laid = sides.overlay(own.tree(), BEFORE.tree(), {"dvc.lock": b"r", "metrics.json": b"r"})
    assert laid.content("metrics.json") == b"theirs"


def test_a_project_that_never_committed_a_lock_starts_from_the_recorded_one() -> None:
    bare = with_files({"dvc.lock": None, "metrics.json": None})
    recorded = {"dvc.lock": BEFORE.files["dvc.lock"], "metrics.json": FILES["metrics.json"]}
    laid = sides.overlay(bare.tree(), bare.tree(), recorded)
    found = replace(view(bare, bare), pipeline=sides.pipeline(laid, STAGES, ("train",)))
    assert assess(found) == Impact()


def test_versions_are_read_from_a_requirements_lock() -> None:
    text = (
        b"# by uv\nScikit_Learn==1.7.1 \\\n    --hash=sha256:aa\n"
        b"numpy==2.0 ; python_version < '3.12'\nnumpy==2.1 ; python_version >= '3.12'\n"
        b"mine @ https://example.com/mine.whl\n-e .\n"
    )
    assert sides.packages(text) == {
        "scikit-learn": "1.7.1",
        "numpy": "2.0, 2.1",
        "mine": "https://example.com/mine.whl",
    }
