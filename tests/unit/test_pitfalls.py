"""What went wrong in other tools, each fault by the name it is known by; here in memory.

Those whose subject is git itself are in tests/system/git/test_pitfalls.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from mlops.adapters.git.failures import redact
from mlops.config.project import parse_project
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.environment import Hold
from mlops.domain.run import RunSpec
from mlops.domain.source import Commit
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.publishing import Change
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.errors import ConfigError, GitError, RefusedError, UsageError
from mlops.manifests import kustomization, pipelinerun
from mlops.manifests.overlay import dump_holds
from tests.fakes.estate import Estate, digest, release
from tests.fakes.gitops import START
from tests.fakes.sources import MemorySources

LINE = MemorySources("ABCDEF")


def roll_back(estate: Estate, environment: str = "prod", **more):
    estate.gitops.clock.pass_time(minutes=1)
    order = RollbackOrder(environment, **{"reason": "nonsense", **more})
    return Roller(estate.publisher, Preflight(deadline=5)).roll_back(order)


def automatic(estate: Estate):
    estate.gitops.clock.pass_time(minutes=1)
    return Promoter(estate.publisher, LINE).automatic()


def everything_automatic(*names: str) -> Estate:
    """A pipeline that runs by itself from dev to prod."""
    estate = Estate()
    estate.released(*names)
    before = "dev"
    for name in ("staging", "prod"):
        policy = f"apiVersion: mlops/v1\nkind: Environment\nfrom: {before}\nauto: true\n"
        estate.write(f"{name}/environment.yaml", policy.encode())
        before = name
    return estate


def pinned(estate: Estate, environment: str) -> str:
    names = {digest(name): name for name in "ABCDEF"}
    return names[estate.pins(environment)["spam"]]


# -- rollbacks that automation undoes


def test_kargo_3016_automation_does_not_undo_a_rollback():
    estate = everything_automatic("A", "B")
    roll_back(estate)
    for _ in range(3):
        moved, left = automatic(estate)
        assert moved == ()
        assert [(each.environment, each.refusal.ground.value) for each in left] == [
            ("prod", "held")
        ]
    assert pinned(estate, "prod") == "A"


def test_argocd_image_updater_464_a_newer_release_does_not_end_a_rollback_either():
    estate = everything_automatic("A", "B")
    roll_back(estate)
    estate.record("C")
    estate.ours("run", "dev", spam="C")
    automatic(estate)
    assert (pinned(estate, "staging"), pinned(estate, "prod")) == ("C", "A")


def test_argocd_image_updater_451_what_was_rolled_back_is_not_carried_on_from_there():
    estate = everything_automatic("A", "B")
    roll_back(estate, "staging")
    estate.ours("promote", "prod", spam="A")
    estate.ours(
        "promote", "staging", spam="B"
    )  # somebody puts it back, the hold still keeps it out
    moved, left = automatic(estate)
    assert moved == ()
    assert "was rolled back from" in left[0].refusal.reason
    assert pinned(estate, "prod") == "A"


def test_argocd_image_updater_1249_only_a_person_ends_a_hold():
    estate = everything_automatic("A", "B")
    roll_back(estate)
    order = PromoteOrder((str(release("B")),), "prod")
    with pytest.raises(RefusedError, match="mlops resume prod spam"):
        Promoter(estate.publisher, LINE).promote(order)
    Promoter(estate.publisher, LINE).promote(replace(order, despite_hold=True))
    assert pinned(estate, "prod") == "B"
    assert estate.environments().state("prod").holds, "the hold stays"


def test_kubernetes_website_6921_rolling_back_twice_does_not_toggle():
    estate = Estate()
    estate.released("A", "B", "C", to=("prod",))
    for expected in "BA":
        roll_back(estate)
        assert pinned(estate, "prod") == expected
    with pytest.raises(RefusedError, match="nothing good before"):
        roll_back(estate)
    with pytest.raises(RefusedError, match="was rolled back from"):
        roll_back(estate, to=str(release("C")))


# -- writers that race


def test_flux_image_automation_1090_a_lost_race_costs_seconds_not_minutes():
    estate = Estate()
    pauses: list[float] = []
    publisher = replace(estate.publisher, pause=pauses.append)

    def decide(_environments):
        estate.gitops.before_push = lambda: estate.gitops.edit({f"{len(pauses)}": b""})
        return None, Change({"environments/x": b"mine"}, "m")

    with pytest.raises(GitError, match="nothing was changed"):
        publisher.settle(decide)
    assert max(pauses) <= 2.0
    assert sum(pauses[:5]) < 5.0, "the first tries follow at once"


def test_flux_image_automation_467_two_writers_do_not_downgrade_each_other():
    """Of two that automate, the one that still sees the older release loses the race, and decides anew."""
    estate = everything_automatic("A")
    estate.record("B")
    estate.ours("run", "dev", spam="B")

    def the_other_one():
        estate.ours("promote", "staging", spam="B")
        estate.ours("run", "dev", spam="A")  # a run that was late

    estate.gitops.before_push = the_other_one
    _, left = automatic(estate)
    assert [each.environment for each in left] == ["staging"]
    assert "made of older source" in left[0].refusal.reason
    assert (pinned(estate, "staging"), pinned(estate, "prod")) == ("B", "B")


def test_a_late_run_does_not_pin_older_code_over_newer():
    estate = everything_automatic("A", "B")
    estate.ours("run", "dev", spam="A")
    _, left = automatic(estate)
    assert {each.refusal.ground.value for each in left} == {"superseded"}
    assert pinned(estate, "staging") == "B"


# -- history


def test_kargo_6741_history_is_not_frozen_by_what_cannot_be_read():
    estate = Estate()
    estate.released("A", to=("prod",))
    whole = estate.read("prod/kustomization.yaml")
    estate.write("prod/kustomization.yaml", b"images: [")
    estate.write("prod/kustomization.yaml", whole)
    estate.pin("prod", spam="B")
    rows = estate.environments().history("prod").rows("spam")
    assert [row.digest for row in rows] == [digest("B"), digest("A")]


def test_flux_329_commits_squashed_into_one_leave_their_last_pin_in_history():
    estate = Estate()
    estate.released("A", to=("prod",))
    estate.gitops.clock.pass_time(hours=1)
    squashed = estate._pinned("prod", {"spam": "C", "eggs": "B"})
    estate.write("prod/kustomization.yaml", squashed, "squash: promote B, promote C")
    rows = list(estate.environments().history("prod").rows())
    assert [(row.model, row.digest) for row in rows] == [
        ("eggs", digest("B")),
        ("spam", digest("C")),
        ("spam", digest("A")),
    ]
    assert rows[1].previous == digest("A")


def test_mlflow_2169_every_change_of_stage_is_kept_with_its_time():
    estate = Estate()
    estate.released("A", "B")
    roll_back(estate)
    rows = list(estate.environments().history("prod").rows("spam"))
    assert [(row.digest, row.action) for row in rows] == [
        (digest("A"), "rollback"),
        (digest("B"), "promote"),
        (digest("A"), "promote"),
    ]
    assert rows[0].since > rows[1].since > rows[2].since
    assert [row.until for row in rows[1:]] == [rows[0].since, rows[1].since]


# -- documents


HAND_MADE = b"""# keep me on top
resources: [../base]   # and me here
images:
    # the one that pages people
    -   digest: "sha256:%b"   # bumped by hand
        name: spam
    - {name: eggs, newTag: 'v1'}

patches: []
""" % (b"0" * 64)


def test_kustomize_4481_comments_stay_where_they_are():
    edited = kustomization.with_pin(HAND_MADE, "spam", digest("A"), "k")
    assert edited == HAND_MADE.replace(b"0" * 64, digest("A").hex.encode())


def test_kustomize_2310_fields_are_not_rewritten_or_reordered():
    edited = kustomization.with_pin(HAND_MADE, "eggs", digest("A"), "k")
    before, after = HAND_MADE.splitlines(), edited.splitlines()
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    assert b"name: eggs" in changed[0][1]


def test_kubeflow_pipelines_13862_a_tag_is_no_key_of_a_cache():
    for text in ("python:3.12-slim", "ghcr.io/x/m:latest", "spam@latest"):
        with pytest.raises(UsageError):
            ImageRef.parse(text)
    tagged = b"images: [{name: spam, newTag: v1}]\n"
    assert kustomization.pins(tagged, "k") == ()


def test_two_incidents_at_once_keep_each_its_own_hold():
    estate = Estate()
    for model in ("spam", "eggs"):
        estate.released("A", "B", model=model, to=("prod",))
    estate.gitops.before_push = lambda: (
        roll_back(estate, models=("eggs",), incident="INC-8") and None
    )
    roll_back(estate, models=("spam",), incident="INC-7")
    holds = {hold.model: hold.incident for hold in estate.environments().state("prod").holds}
    assert holds == {"spam": "INC-7", "eggs": "INC-8"}
    assert set(estate.pins("prod").values()) == {digest("A")}


def test_a_hold_ends_by_one_clock_a_day_off_or_not():
    estate = everything_automatic("A", "B")
    estate.pin("prod", spam="A")
    hold = Hold("spam", START, "Ada", "freeze", until=START + timedelta(days=2))
    estate.gitops.clock.at = START + timedelta(days=1)
    estate.write("prod/holds.yaml", dump_holds([hold]))
    assert automatic(estate)[0] == ()
    estate.gitops.clock.at = START + timedelta(days=2)
    automatic(estate)
    assert pinned(estate, "prod") == "B"


# -- Tekton and the web, as far as the features are here


NASTY = "x'; $(touch owned) `id` $(params.model) \n- name: evil"


def run_document(attempt: int = 1) -> dict:
    spec = RunSpec(
        name=f"spam-1234567890ab-{attempt}",
        attempt=attempt,
        model="spam",
        source=Commit("1234567890abcdef1234567890abcdef12345678"),
        repository="/home/ana/spam",
        registry="oci:/home/ana/spam/.mlops/registry",
        tool=ImageRef("mlops", Digest("a" * 64)),
        environment="dev",
        gitops_path="environments",
        gitops_branch="main",
        actor=NASTY,
        plan=NASTY,
    )
    return pipelinerun.generate(spec)


def test_tektoncd_pipeline_3458_params_never_stand_in_a_script():
    waiting, scripts = [run_document()], []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            scripts += [value[key] for key in value if key == "script"]
            scripts += [part for key in ("command", "args") for part in value.get(key) or ()]
        waiting += (
            value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        )
    assert scripts
    assert not [script for script in scripts if re.search(r"\$\((?:params|tasks)[.\[]", script)]
    assert not [script for script in scripts if "owned" in script]


def test_tektoncd_chains_850_nothing_is_pinned_before_its_provenance_stands():
    tasks = {task["name"]: task for task in run_document()["spec"]["pipelineSpec"]["tasks"]}
    assert tasks["propose"]["runAfter"] == ["attest"]
    assert not [name for name, task in tasks.items() if "propose" in task.get("runAfter", ())]


def test_tektoncd_chains_1004_a_rerun_carries_nothing_of_the_attempt_before():
    first, second = (json.dumps(run_document(attempt=number)) for number in (1, 2))
    assert '"dev.mlops/attempt": "2"' in second
    assert "spam-1234567890ab-1" not in second
    assert first != second


def test_cve_2026_33211_and_cve_2023_1177_paths_do_not_leave_the_tree():
    for path in ("../../etc/passwd", "/etc/passwd", "a/../../b", "models/../../x"):
        text = f"apiVersion: mlops/v1\nkind: Project\nname: demo\nmodels:\n  spam: {{artifact: {json.dumps(path)}}}\n"
        with pytest.raises(ConfigError):
            parse_project(text.encode(), "mlops.yaml")


def test_cve_2025_11201_a_name_of_a_model_is_no_path():
    for name in ("../spam", "a/b", "..", ".git"):
        document = {
            "apiVersion": "mlops/v1",
            "kind": "Project",
            "name": "demo",
            "models": {name: {}},
        }
        with pytest.raises(ConfigError):
            parse_project(yaml.safe_dump(document).encode(), "mlops.yaml")


def test_cve_2025_55190_no_secret_stands_in_a_message():
    shown = redact("fatal: Authentication failed for 'https://ada:s3cr3t@git.example.com/x.git'")
    assert "s3cr3t" not in shown
