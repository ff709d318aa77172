"""The images of a run: what documents name, what the state records, what is missing."""

import json
import os
import signal
import socket
import threading

import pytest

from mlops.adapters.images import Images
from mlops.adapters.layout import OciLayout
from mlops.domain.digest import Digest
from mlops.domain.imagename import ImageMap
from mlops.domain.run import Phase
from mlops.errors import RegistryError

GONE = "127.0.0.1:1/tools/alpine"  # nobody listens at this port


@pytest.fixture
def elsewhere(world):
    """The shell's image in a layout on disk, as others write it; its directory."""
    layout = OciLayout(world.path / "layout")
    manifest = world.store.manifest(world.shell.digest)
    document = json.loads(manifest)
    for each in (document["config"], *document["layers"]):
        digest = Digest.parse(each["digest"])
        layout.put_blob(world.store.blob_path(digest), digest)
    layout.put_manifest(manifest, document["mediaType"], "shell", "1")
    return world.path / "layout"


def test_a_tag_is_mapped_and_the_digest_recorded(world, doc, elsewhere):
    world.mapping = ImageMap.parse([f"{GONE}=oci:{elsewhere}//shell:1"])
    steps = [
        {"name": "tag", "image": f"{GONE}:3.20", "script": "echo by tag"},
        {"name": "none", "image": GONE, "script": "echo by nothing"},
        {"name": "digest", "image": f"{GONE}@sha256:{'1' * 64}", "script": "echo by digest"},
    ]
    result = world.run(doc({"name": "a", "taskSpec": {"steps": steps}}))
    assert result.phase is Phase.SUCCEEDED, world.observer.lines
    assert world.observer.said("a") == ["by tag", "by nothing", "by digest"]
    assert {step.image for step in result.tasks[0].steps} == {f"{GONE}@{world.shell.digest}"}
    again = world.executor.status("run-1")
    assert again.tasks[0].steps[0].image == f"{GONE}@{world.shell.digest}"


@pytest.mark.parametrize("kind", ["steps", "sidecars"])
@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (f"{GONE}:1", f"{GONE}:1 is not here, and 127.0.0.1:1 cannot be asked"),
        (f"{GONE}@sha256:{'1' * 64}", "is not here, and 127.0.0.1:1 cannot be asked"),
        ("mapped", "has no images called nothing"),
    ],
)
def test_an_image_that_is_not_to_be_had_is_named_before_anything_runs(
    world, doc, elsewhere, kind, image, complaint
):
    world.mapping = ImageMap.parse([f"mapped=oci:{elsewhere}//nothing"])
    spec = {"steps": [{"name": "first", "image": str(world.shell), "script": "echo never"}]}
    spec[kind] = [*spec.get(kind, []), {"name": "second", "image": image, "command": ["true"]}]
    with pytest.raises(RegistryError, match=complaint) as raised:
        world.run(doc(world.task("b", "echo other"), {"name": "a", "taskSpec": spec}))
    assert f"tasks[1].taskSpec.{kind}[{len(spec[kind]) - 1}].image: " in raised.value.message
    assert raised.value.exit_code == 3
    assert world.observer.lines == []
    assert not (world.path / "runs/run-1").exists()


def later(world, image):
    """A task that gives an image as its result, and the parameter of one that takes it."""
    first = world.task(
        "z", f"printf {image} > $(results.r.path)", spec={"results": [{"name": "r"}]}
    )
    return first, [{"name": "i", "value": "$(tasks.z.results.r)"}]


def test_an_image_that_only_a_result_tells_fails_its_task_before_any_step(world, doc):
    first, params = later(world, f"{GONE}:1")
    steps = [
        {"name": "first", "image": str(world.shell), "script": "echo never"},
        {"name": "second", "image": "$(params.i)", "script": "echo never"},
    ]
    spec = {"params": [{"name": "i"}], "steps": steps}
    result = world.run(doc(first, {"name": "a", "params": params, "taskSpec": spec}))
    task = result.tasks[1]
    assert (task.phase, task.reason) == (Phase.FAILED, "TaskRunImagePullFailed")
    assert f"steps[1].image: {GONE}:1 is not here, and 127.0.0.1:1 cannot be asked" in task.message
    assert "--image FROM=TO" in task.message
    assert world.observer.said("a") == []
    assert {step.phase for step in task.steps} == {Phase.SKIPPED}


def test_retries_look_again(world, doc, elsewhere, monkeypatch):
    """The layout appears after the first attempt has looked for it."""
    hidden = elsewhere.rename(elsewhere.with_name("hidden"))
    world.mapping = ImageMap.parse([f"{GONE}=oci:{elsewhere}"])
    find = Images.find

    def failing_once(self, text, *rest):
        try:
            return find(self, text, *rest)
        finally:
            if text == GONE and hidden.exists():
                hidden.rename(elsewhere)

    monkeypatch.setattr(Images, "find", failing_once)
    first, params = later(world, GONE)
    spec = {"params": [{"name": "i"}]}
    task = world.task(
        "a", "echo here", step={"image": "$(params.i)"}, retries=3, params=params, spec=spec
    )
    result = world.run(doc(first, task))
    assert result.phase is Phase.SUCCEEDED, result.tasks[1].message
    assert result.tasks[1].attempts == 2


def test_a_pull_ends_when_the_run_is_cancelled(world, doc, monkeypatch):
    """The registry takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = threading.Event()

        def serve():
            connection, _ = server.accept()
            asked.set()
            with connection:
                connection.recv(1)
                while connection.recv(4096):
                    pass

        def cancel():
            asked.wait(60)
            os.kill(os.getpid(), signal.SIGTERM)
            server.shutdown(socket.SHUT_RDWR)

        threads = [threading.Thread(target=each) for each in (serve, cancel)]
        for thread in threads:
            thread.start()
        image = f"127.0.0.1:{server.getsockname()[1]}/x:1"
        first, params = later(world, image)
        spec = {"params": [{"name": "i"}]}
        task = world.task("a", "true", step={"image": "$(params.i)"}, params=params, spec=spec)
        result = world.run(doc(first, task, world.task("b", "sleep 100")))
        for thread in threads:
            thread.join()
    assert result.phase is Phase.CANCELLED
    assert [task.phase for task in result.tasks[1:]] == [Phase.CANCELLED] * 2


@pytest.mark.parametrize(
    ("script", "interpreter"),
    [
        ("#!/no/such/interpreter -x\ntrue", "'/no/such/interpreter'"),
        ("#!/bin/sh\r\ntrue\r\n", "'/bin/sh\\r'"),
        ("#!  /no/such\ntrue", "'/no/such'"),
    ],
)
def test_a_missing_interpreter_is_named(world, doc, script, interpreter):
    result = world.run(doc(world.task("a", script)))
    task = result.tasks[0]
    assert task.steps[0].reason == "StartError"
    assert f"its interpreter {interpreter} is not in the image" in task.message


def test_lines_that_end_as_on_windows(world, doc):
    """Without a first line that names an interpreter the shell reads them, and sees the rest."""
    result = world.run(doc(world.task("a", "echo on\r\n")))
    assert world.observer.said("a")[0].startswith("on")
    assert result.phase is Phase.SUCCEEDED
