"""Whole runs, task after task, on real git and DVC; and the step that publishes."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from mlops.adapters.git import GitOpsBranch
from mlops.adapters.layout import OciLayout
from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import Hold, QuarantineEntry
from mlops.errors import ConfigError, RefusedError
from mlops.manifests.overlay import dump_holds, dump_quarantine
from mlops.ports import LostRace, Published
from mlops.steps import attest

KUSTOMIZATION = "environments/dev/kustomization.yaml"


def released(run) -> ReleaseId:
    return ReleaseId.parse(run.results["package"]["release"])


def proposed(run, **spec):
    run = run.again(**spec) if spec else run
    run.step("propose")
    return run.results["propose"]


def test_first_release_and_the_one_after_it(run, capfd):
    play, before = run.play, run.play.head()
    run.step("propose")
    release = released(run)
    assert run.results["propose"] == {
        "pinned": "true",
        "note": "",
        "commit": play.git("rev-parse", "main", cwd=play.remote),
    }
    # the pin is the one change to the file
    old = play.git("show", f"{before}:{KUSTOMIZATION}").splitlines()
    added = [line for line in play.tip(KUSTOMIZATION).splitlines() if line not in old]
    assert added == ["  - name: spam", f"    digest: {release.digest}"]
    message = play.git("log", "-1", "--format=%B", "main", cwd=play.remote)
    assert message.startswith(f"Pin spam sha256:{release.digest.short}… in dev\n")
    for trailer in (
        "Mlops-Action: run",
        f"Mlops-Model: {release}",
        "Mlops-Environment: dev",
        f"Mlops-Source: {before}",
        f"Mlops-Run: {run.spec.name}",
        "Mlops-Actor: Ana",
    ):
        assert trailer in message.splitlines()
    # nothing of the user's moved
    assert play.head() == before
    assert play.git("status", "--porcelain") == ""
    check_record(play, run, release)
    check_tag(play, release, before)
    second_run_starts_from_the_first(play, run, capfd)


def check_record(play, run, release):
    document = play.record(str(release)).document
    assert document["source"]["commit"] == str(run.spec.source)
    assert document["metrics"] == {"accuracy": 0.75}
    assert document["params"] == {"params.yaml": {"weight": 0.75}}
    assert [data["path"] for data in document["data"]] == [
        "data/prepared.csv", "data/train.csv", "models/spam.txt",
    ]  # fmt: skip
    assert document["artifact"]["path"] == "models/spam.txt"
    assert [gate["verdict"] for gate in document["gates"]] == [
        "pass", "pass: nothing is pinned to compare with",
    ]  # fmt: skip
    assert [layer["kind"] for layer in document["layers"]] == [
        "base", "dependencies", "code", "model",
    ]  # fmt: skip
    assert document["run"]["document"] == f"sha256:{run.params['document']}"
    assert document["dvc"] == {"lock": "dvc.lock", "tag": f"mlops/spam/{release.digest.short}"}
    assert set(document["locks"]) == {"mlops.lock", "dvc.lock", "builder"}


def check_tag(play, release, source):
    tag = f"mlops/spam/{release.digest.short}"
    assert play.git("rev-parse", f"{tag}^", cwd=play.remote) == str(source)
    changed = play.git("diff", "--name-only", str(source), tag, cwd=play.remote)
    assert changed.split() == ["dvc.lock", "metrics.json"]
    assert play.git("rev-parse", tag) == play.git("rev-parse", tag, cwd=play.remote)


def second_run_starts_from_the_first(play, first, capfd):
    play.commit({"README": "words"})
    digest = str(released(first).digest)
    run = play.run(baseline=digest, since=str(first.spec.source)).upto("propose")
    out = capfd.readouterr().out
    assert "as the release before recorded: dvc.lock, metrics.json" in out
    assert "Running stage" not in out
    assert run.results["propose"]["pinned"] == "true"
    last = play.git("log", "-1", "--format=%B", "main", cwd=play.remote)
    assert f"Mlops-Previous: {released(first)}" in last
    # the same environment, the same code, the same model
    one, two = (play.record(str(released(each))).document for each in (first, run))
    assert one["layers"] == two["layers"]
    assert one["release"] != two["release"]


def test_what_callers_rely_on_stands_in_the_record(play):
    text = (play.work / "mlops.yaml").read_text()
    declared = "    compatibility: {input-schema: 3, api: v2}\n"
    play.commit({"mlops.yaml": text + declared})
    run = play.run().upto("propose")
    record = play.record(run.results["package"]["release"])
    assert record.document["compatibility"] == {"api": "v2", "input-schema": "3"}
    assert record.compatibility == {"api": "v2", "input-schema": "3"}


def test_the_statement_is_a_referrer_of_the_image(run):
    store = OciLayout(run.play.registry)
    found = store.referrers(released(run).digest)[0]
    assert found["artifactType"] == attest.MEDIA_TYPE
    manifest = json.loads(store.manifest(Digest.parse(found["digest"])))
    content = store.blob_path(Digest.parse(manifest["layers"][0]["digest"])).read_bytes()
    statement = json.loads(content)
    assert statement["subject"] == [
        {"name": "spam", "digest": {"sha256": released(run).digest.hex}}
    ]
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["predicate"]["runDetails"]["metadata"]["invocationId"] == run.spec.name
    run.step("attest")  # of this copy, whose remote is elsewhere
    there = store.referrers(released(run).digest)
    run.step("attest")
    assert store.referrers(released(run).digest) == there


def test_proposing_again_changes_nothing(run):
    first = proposed(run)
    tip = run.play.git("rev-parse", "main", cwd=run.play.remote)
    record = run.play.record(str(released(run)))
    assert proposed(run) == first
    assert run.play.git("rev-parse", "main", cwd=run.play.remote) == tip
    assert run.play.record(str(released(run))) == record


def test_the_first_record_of_a_digest_stands(run, capsys):
    proposed(run)
    record = run.play.record(str(released(run))).dump()
    run.play.git("pull", "-q", "--rebase", "origin", "main")
    (run.state / "metrics.json").write_text('{"accuracy": 0.76}')
    assert proposed(run, name="spam-again-2", attempt=2)["pinned"] == "true"
    assert run.play.record(str(released(run))).dump() == record
    assert "with another metrics" in capsys.readouterr().out


def test_no_pin_records_alone(run):
    before = run.play.tip(KUSTOMIZATION)
    assert proposed(run, pin=False) == {
        "pinned": "false",
        "note": "released, not pinned: --no-pin",
        "commit": run.play.git("rev-parse", "main", cwd=run.play.remote),
    }
    assert run.play.tip(KUSTOMIZATION) == before
    assert run.play.record(str(released(run))).release == released(run)
    # a later run without it pins what is recorded
    assert proposed(run)["pinned"] == "true"


def test_a_held_environment_is_recorded_not_pinned(run):
    hold = Hold("*", datetime.now(UTC) - timedelta(hours=1), "Ben", "incident")
    run.play.commit({"environments/dev/holds.yaml": dump_holds([hold]).decode()})
    found = proposed(run)
    assert found["pinned"] == "false"
    assert found["note"] == "dev is held: released, not pinned"
    assert run.play.record(str(released(run))).release == released(run)
    assert "spam" not in run.play.tip(KUSTOMIZATION)


def test_a_hold_that_has_ended_stops_nobody(run):
    past = datetime.now(UTC) - timedelta(hours=2)
    hold = Hold("*", past, "Ben", "incident", until=past + timedelta(hours=1))
    run.play.commit({"environments/dev/holds.yaml": dump_holds([hold]).decode()})
    assert proposed(run)["pinned"] == "true"


@pytest.mark.parametrize("by", ["digest", "artifact"])
def test_what_is_quarantined_is_not_pinned(run, by):
    artifact = json.loads((run.state / "artifact.json").read_text())["md5"]
    digest = released(run).digest if by == "digest" else Digest("b" * 64)
    entry = QuarantineEntry(
        "spam", digest, datetime.now(UTC), "Ben", "nonsense", artifact if by == "artifact" else None
    )
    run.play.commit({"environments/quarantine.yaml": dump_quarantine([entry]).decode()})
    found = proposed(run)
    assert found["pinned"] == "false"
    assert "quarantined" in found["note"]
    assert found["note"].endswith("nonsense: released, not pinned")


def test_a_run_that_finishes_late_is_superseded(run):
    newer = run.play.commit({"README": "newer"})
    document = {
        "schema": "mlops/release/v1",
        "release": f"spam@sha256:{'c' * 64}",
        "source": {"commit": str(newer)},
        "metrics": {"accuracy": 0.7},
    }
    pin = run.play.tip(KUSTOMIZATION) + f"\n  - name: spam\n    digest: sha256:{'c' * 64}\n"
    run.play.commit(
        {
            KUSTOMIZATION: pin,
            f"environments/releases/spam/{'c' * 64}.json": json.dumps(document),
        }
    )
    found = proposed(run)
    assert found["pinned"] == "false"
    assert "older source" in found["note"]
    assert run.play.tip(KUSTOMIZATION) == pin.strip()
    assert run.play.record(str(released(run))).release == released(run)


def test_a_lost_race_is_decided_again(run, monkeypatch, capsys):
    """Somebody holds dev between our decision and our push."""
    hold = Hold("spam", datetime.now(UTC), "Ben", "incident")
    publish, answers = GitOpsBranch.publish, []

    def slower(self, *args, **more):
        if not answers:
            run.play.commit({"environments/dev/holds.yaml": dump_holds([hold]).decode()})
        answers.append(publish(self, *args, **more))
        return answers[-1]

    monkeypatch.setattr(GitOpsBranch, "publish", slower)
    found = proposed(run)
    assert [type(answer) for answer in answers] == [LostRace, Published]
    assert found["note"] == "dev is held: released, not pinned"
    assert "deciding again" in capsys.readouterr().out


def test_a_tag_without_a_record_that_keeps_other_files_is_refused(run):
    tag = f"mlops/spam/{released(run).digest.short}"
    run.play.git("tag", tag)
    run.play.git("push", "-q", "origin", tag)
    with pytest.raises(RefusedError, match="stands already, at"):
        proposed(run)


def test_without_a_remote_the_local_branch_is_the_commit_point(run):
    run.play.git("remote", "remove", "origin")
    assert proposed(run)["pinned"] == "true"
    digest = str(released(run).digest)
    assert digest in run.play.git("show", f"main:{KUSTOMIZATION}")
    assert digest in (run.play.work / KUSTOMIZATION).read_text()
    assert run.play.git("status", "--porcelain") == ""
    assert run.play.git("tag") == f"mlops/spam/{digest[7:19]}"


def test_a_missing_environment_names_the_file(run):
    with pytest.raises(ConfigError, match=r"environments/qa/kustomization\.yaml is not on"):
        proposed(run, environment="qa")


def test_another_repository_for_gitops(run, tmp_path):
    other = tmp_path / "deploy.git"
    run.play.git("clone", "-q", "--bare", str(run.play.remote), str(other))
    found = proposed(run, gitops_url=f"file://{other}")
    assert found["commit"] == run.play.git("rev-parse", "main", cwd=other)
    digest = released(run).digest
    assert str(digest) in run.play.git("show", f"main:{KUSTOMIZATION}", cwd=other)
    assert str(digest) not in run.play.tip(KUSTOMIZATION)
    # the tag belongs to the source
    tag = f"mlops/spam/{digest.short}"
    assert run.play.git("tag", cwd=run.play.remote) == tag
    assert run.play.git("tag", cwd=other) == ""
