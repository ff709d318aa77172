"""A whole run, task after task, on real git and DVC."""

from mlops.domain.digest import ReleaseId


def test_first_release(play):
    run = play.run().upto("propose")
    release = run.results["package"]["release"]
    record = play.record(release)
    assert str(ReleaseId.parse(release)) == release
    assert run.results["propose"]["pinned"] == "true"
    assert f"digest: {record.release.digest}" in play.tip("environments/dev/kustomization.yaml")
    assert record.metrics == {"accuracy": 0.75}
