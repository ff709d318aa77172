"""Links that a step lays lead no other container out of its workspaces and volumes."""

import pytest

from mlops.domain.run import Phase

CLAIM = [{"name": "w", "volumeClaimTemplate": {"spec": {}}}]
TWICE = [{"name": "whole", "workspace": "w"}, {"name": "part", "workspace": "w", "subPath": "sub"}]


@pytest.fixture
def outside(contained):
    directory = contained.path / "outside"
    directory.mkdir()
    (directory / "secret").write_text("hidden")
    directory.chmod(0o755)
    return directory


def untouched(world, outside):
    assert "hidden" not in world.observer.said()
    assert sorted(each.name for each in outside.iterdir()) == ["secret"]
    assert outside.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("user", [None, 1000])
def test_in_the_place_of_a_sub_path(contained, doc, outside, user):
    lay = f"mv $(workspaces.whole.path)/sub $(workspaces.whole.path)/old; ln -s {outside} $(workspaces.whole.path)/sub"
    use = "cat $(workspaces.part.path)/secret; touch $(workspaces.part.path)/written; echo came"
    steps = [
        {"name": "lay", "image": str(contained.shell), "script": lay},
        {"name": "use", "image": str(contained.shell), "script": use},
    ]
    if user is not None:
        steps[1]["securityContext"] = {"runAsUser": user}
    spec = {"workspaces": [{"name": "whole"}, {"name": "part"}], "steps": steps}
    task = {"name": "a", "workspaces": TWICE, "taskSpec": spec}
    result = contained.run(doc(task, pipeline={"workspaces": [{"name": "w"}]}, workspaces=CLAIM))
    untouched(contained, outside)
    assert result.phase is Phase.FAILED
    assert "a step put something" in result.tasks[0].message
    assert contained.observer.said("a") == []


def test_in_the_place_of_a_directory_above_it(contained, doc, outside):
    (outside / "below").mkdir()
    bound = [
        {"name": "whole", "workspace": "w"},
        {"name": "part", "workspace": "w", "subPath": "sub/below"},
    ]
    lay = f"mv $(workspaces.whole.path)/sub $(workspaces.whole.path)/old; ln -s {outside} $(workspaces.whole.path)/sub"
    steps = [
        {"name": "lay", "image": str(contained.shell), "script": lay},
        {"name": "use", "image": str(contained.shell), "script": "touch $(workspaces.part.path)/x"},
    ]
    spec = {"workspaces": [{"name": "whole"}, {"name": "part"}], "steps": steps}
    task = {"name": "a", "workspaces": bound, "taskSpec": spec}
    result = contained.run(doc(task, pipeline={"workspaces": [{"name": "w"}]}, workspaces=CLAIM))
    assert result.phase is Phase.FAILED
    assert list((outside / "below").iterdir()) == []


def test_swapped_in_again_and_again(world, doc):
    """A sidecar swaps directory and link while steps start: the window between looking and mounting."""
    outside = world.path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("hidden")
    swap = (
        f"cd $(workspaces.whole.path); ln -s {outside} link\n"
        "while :; do mv -T sub real; mv -T link sub; mv -T sub link; mv -T real sub; done 2>/dev/null"
    )
    sidecar = {"name": "side", "image": str(world.shell), "script": swap}
    script = "cat $(workspaces.part.path)/secret 2>/dev/null || echo none"
    steps = [
        {"name": f"s{number}", "image": str(world.shell), "script": script, "onError": "continue"}
        for number in range(30)
    ]
    spec = {
        "workspaces": [{"name": "whole"}, {"name": "part"}],
        "steps": steps,
        "sidecars": [sidecar],
    }
    tasks = [
        {"name": f"t{number}", "workspaces": TWICE, "taskSpec": spec, "retries": 0}
        for number in range(4)
    ]
    world.run(doc(*tasks, pipeline={"workspaces": [{"name": "w"}]}, workspaces=CLAIM))
    assert "hidden" not in world.observer.said()


def test_a_sub_path_that_is_as_it_was_is_mounted(contained, doc):
    steps = [
        {"name": "one", "image": str(contained.shell), "script": "echo x > $(workspaces.part.path)/x"},
        {"name": "two", "image": str(contained.shell), "script": "cat $(workspaces.whole.path)/sub/x"},
    ]  # fmt: skip
    spec = {"workspaces": [{"name": "whole"}, {"name": "part"}], "steps": steps}
    task = {"name": "a", "workspaces": TWICE, "taskSpec": spec}
    result = contained.run(doc(task, pipeline={"workspaces": [{"name": "w"}]}, workspaces=CLAIM))
    assert result.phase is Phase.SUCCEEDED, (result, contained.observer.lines)
    assert contained.observer.said("a") == ["x"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("STORAGE_OPTS", "overlay.mount_program=@"), ("LD_PRELOAD", "@"), ("PATH", "@:/bin")],
)
def test_no_variable_reaches_the_engines_own_program(engine, doc, name, value):
    """What it would start on the host is never started."""
    program = engine.path / "bin"
    program.mkdir()
    ran = engine.path / "ran"
    for each in ("runc", "crun", "conmon", "prog"):
        (program / each).write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
        (program / each).chmod(0o755)
    at = program / "prog" if name == "STORAGE_OPTS" else program
    env = [{"name": name, "value": value.replace("@", str(at))}]
    result = engine.run(doc(engine.task("a", "echo on", step={"env": env})))
    assert not ran.exists()
    assert "on" in engine.observer.said("a"), (result, engine.observer.lines)


@pytest.mark.parametrize("name", ["STORAGE_OPTS", "gcc_proxy", "Ld_Preload", "_X"])
def test_nor_one_of_several_lines(engine, doc, name):
    env = [{"name": name, "value": "one\ntwo"}]
    result = engine.run(doc(engine.task("a", "echo never", step={"env": env})))
    assert "has several lines, which no engine can be told" in result.tasks[0].message
