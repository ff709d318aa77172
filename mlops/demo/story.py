"""The story, act by act: commit → plan → run → release → promote → incident → rollback."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mlops.demo.evidence import Evidence, released
from mlops.demo.stage import Stage
from mlops.domain.digest import ReleaseId

_INSTALLED = ("base", "dependencies", "server")


@dataclass
class Story:
    """What the acts hand on to each other."""

    stage: Stage
    evidence: Evidence
    releases: list[ReleaseId] = field(default_factory=list)

    def pinned(self, environment: str, release: ReleaseId) -> None:
        """Check, aloud, that an environment pins a release."""
        pin = self.evidence.pin(environment)
        self.stage.check(f"{environment} pins {release.short}", holds=pin == release.digest.hex)


def play(story: Story) -> None:
    """All acts in order. Raises DemoError at the first thing that is not as told."""
    for act in (
        _project,
        _ready,
        _first_release,
        _documentation,
        _data,
        _worse,
        _prod,
        _prediction,
        _incident,
        _automation,
        _past,
        _again,
    ):
        act(story)


def _project(story: Story) -> None:
    stage = story.stage
    stage.title("A project")
    stage.tell("A data scientist's repository: git, a DVC pipeline, scikit-learn's wine data.")
    stage.type("git init -q --bare -b main ../remote.git")
    stage.type("git init -q -b main && git remote add origin ../remote.git")
    stage.type("git config user.name Demo && git config user.email demo@example.com")
    stage.type("dvc init -q && dvc remote add -q --default store ../dvc-store")
    stage.type("dvc add -q data/labels.csv && dvc push -q")
    stage.type('git add . && git commit -q -m "Tell wines apart" && git push -q -u origin main')


def _ready(story: Story) -> None:
    stage = story.stage
    stage.title("mlops init and lock")
    stage.tell(
        "init finds model, metrics and pipeline by itself; lock pins every package and image."
    )
    stage.type("mlops init --yes")
    stage.type(
        "sed -i 's/gates: .*/gates: [{metric: accuracy, min: 0.9}]/' mlops.yaml && grep -n gates mlops.yaml"
    )
    stage.type('git add . && git commit -q -m "Add mlops"')
    stage.type("mlops lock")
    stage.type('git add . && git commit -q -m "Lock images and packages" && git push -q')


def _first_release(story: Story) -> None:
    stage = story.stage
    stage.title("The first release")
    stage.tell(
        "One commit is planned, trained in its own image, judged, packaged and pinned into dev."
    )
    stage.type("mlops plan")
    first = released(stage.type("mlops run"))
    story.releases.append(first)
    story.pinned("dev", first)
    stage.tell("The very same digest moves on; nothing is rebuilt on the way to production.")
    stage.type("mlops promote wine@dev --to staging && mlops promote wine@staging --to prod")
    story.pinned("prod", first)
    stage.type("mlops status")


def _documentation(story: Story) -> None:
    stage, dev = story.stage, story.evidence.pin("dev")
    stage.title("A change of documentation")
    stage.tell("Impact decides: what no stage reads and no image holds changes nothing.")
    stage.type("git pull -q --rebase && echo 'Cheers.' >> README.md")
    stage.type('git commit -q -a -m "Say cheers" && git push -q')
    said = stage.type("mlops watch --once").text
    stage.check("nothing was to do", holds="nothing to do" in said)
    stage.check("dev was left alone", holds=story.evidence.pin("dev") == dev)


def _data(story: Story) -> None:
    stage, evidence = story.stage, story.evidence
    stage.title("New data")
    stage.tell(
        "Seventy more bottles were labelled: the model is retrained, in the image that is there."
    )
    stage.type("cat more-labels.csv >> data/labels.csv && mlops data add data/labels.csv")
    stage.type('mlops data push && git commit -q -a -m "Add seventy labels" && git push -q')
    said = stage.type("mlops plan").text
    stage.check("the data is the reason", holds="data/labels.csv" in said)
    second = released(stage.type("mlops run --quiet"))
    first = story.releases[0]
    story.releases.append(second)
    same = evidence.layers(first, *_INSTALLED) == evidence.layers(second, *_INSTALLED)
    stage.check("no dependency was built again: the layers are the same", holds=same)
    models = [evidence.layers(release, "model") for release in (first, second)]
    stage.check("the model is another one", holds=models[0] != models[1])
    story.pinned("dev", second)
    stage.type("mlops diff wine@prod wine@dev")


def _worse(story: Story) -> None:
    stage, second = story.stage, story.releases[-1]
    stage.title("A worse model")
    stage.tell('Somebody makes training "faster". The gate asks for an accuracy of 0.9.')
    stage.type(
        "git pull -q --rebase && sed -i 's/trees: .*/trees: 1/; s/depth: .*/depth: 1/' params.yaml"
    )
    stage.type('git commit -q -a -m "Train faster" && git push -q')
    said = stage.type("mlops run --quiet", code=1).text
    stage.check("the gate refused it", holds="accuracy" in said)
    story.pinned("dev", second)
    stage.type("git revert --no-edit HEAD > /dev/null && git push -q")


def _prod(story: Story) -> None:
    stage, second = story.stage, story.releases[-1]
    stage.title("To production")
    stage.tell(
        "What dev has shown to be good goes to staging, by policy, and to prod, by a person."
    )
    stage.type("mlops promote --auto")
    story.pinned("staging", second)
    stage.type("mlops promote wine@staging --to prod")
    story.pinned("prod", second)


def _prediction(story: Story) -> None:
    stage, second = story.stage, story.releases[-1]
    port = _free_port()
    stage.title("A prediction")
    stage.tell("The image that prod pins serves, in a sandbox, with the Open Inference Protocol.")
    said = stage.type(
        f"mlops image run wine@prod --port {port} & python ask.py {port}; kill $!"
    ).text
    stage.check(
        "it told the two bottles apart",
        holds=re.search(r"cultivars: \[0, [12]\]", said) is not None,
    )
    stage.check("it counts predictions by release", holds=second.digest.short in said)


def _incident(story: Story) -> None:
    stage, (first, second) = story.stage, story.releases
    stage.title("An incident")
    stage.tell("Customers complain. One commit pins what was good before, and holds it there.")
    stage.type('mlops rollback prod --reason "Bordeaux sold as Barolo" --incident INC-7 --yes')
    story.pinned("prod", first)
    stage.check("prod is held", holds=story.evidence.held("prod"))
    stage.check(
        f"staging keeps {second.short}", holds=story.evidence.pin("staging") == second.digest.hex
    )


def _automation(story: Story) -> None:
    stage, (first, _) = story.stage, story.releases
    stage.title("Automation meets the hold")
    stage.tell(
        "Even where policy lets automation into prod, a hold keeps it out until `mlops resume`."
    )
    stage.type(
        "git pull -q --rebase && sed -i 's/auto: false/auto: true/' environments/prod/environment.yaml"
    )
    stage.type('git commit -q -a -m "Let automation into prod" && git push -q')
    said = stage.type("mlops promote --auto").text
    stage.check("automation says that prod is held", holds="held" in said)
    stage.type("mlops watch --once")
    story.pinned("prod", first)
    stage.type("mlops status")


def _past(story: Story) -> None:
    stage, (first, second) = story.stage, story.releases
    stage.title("What was in production?")
    stage.tell("git knows what prod pinned at any instant: here just before the rollback.")
    rows = stage.type("mlops history prod").text
    since = _times(rows)
    before = since[0] - timedelta(seconds=1)
    said = stage.type(f"mlops history prod --at {before:%Y-%m-%dT%H:%M:%SZ}").text
    stage.check(
        f"it was {second.short}",
        holds=second.digest.short in said and first.digest.short not in said,
    )
    stage.type("mlops show wine@prod")


def _times(text: str) -> list[datetime]:
    found = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    return sorted((datetime.fromisoformat(t).astimezone(UTC) for t in found), reverse=True)


def _again(story: Story) -> None:
    stage, second = story.stage, story.releases[-1]
    source = str(story.evidence.record(second)["source"]["commit"])[:12]
    stage.title("The same commit, built again")
    stage.tell(
        "From nothing but the commit, its locks and its data: the same digest, here and elsewhere."
    )
    here = released(stage.type(f"mlops run {source} --again --quiet"))
    stage.check("here: the same digest", holds=here == second)
    stage.type("git clone -q ../remote.git ../second-clone")
    there = released(stage.type(f"cd ../second-clone && mlops run {source} --again --quiet"))
    stage.check("in another clone: the same digest", holds=there == second)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
