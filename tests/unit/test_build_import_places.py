"""Where a release image looks for the modules that training pickled by name."""

import pytest

from mlops.build.project import import_places


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ([], ()),
        (["app/train.py"], ()),
        (["app/src/train.py"], ("/app/src",)),
        (["app/src/p/__init__.py", "app/src/p/q/__init__.py", "app/src/p/q/r.py"], ("/app/src",)),
        (["app/src/p/__init__.py", "app/src/p/namespace/x.py"], ("/app/src",)),
        (
            ["app/services/fraud/rule.py", "app/common/__init__.py", "app/services/a/b.txt"],
            ("/app/services/fraud",),
        ),
    ],
)
def test_scripts_directories_and_the_parents_of_packages(code, expected):
    assert import_places(code) == ("/app", *expected)
