"""Locks of other tools: what is taken from them, and what is refused."""

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.config.sources import pinned, pipfile, pylock, uvlock
from mlops.config.sources.kinds import Kind, ambiguous, check_pyproject, kind_of
from mlops.config.sources.wanted import Wanted
from mlops.errors import ConfigError

calm = settings(deadline=None)
HERE = Wanted("linux/amd64", "3.12.4", "2.36")
A, B = "a" * 64, "b" * 64


def wheel(name: str, version: str, tag: str = "py3-none-any", digest: str = A) -> str:
    file = f"{name}-{version}-{tag}.whl"
    return f'{{url = "https://example.com/{file}", hashes = {{sha256 = "{digest}"}}}}'


def lock(*packages: str, head: str = 'lock-version = "1.0"\ncreated-by = "uv"\n') -> bytes:
    return (head + "".join(f"[[packages]]\n{each}\n" for each in packages)).encode()


def package(name: str, version: str = "1.0", *wheels: str, more: str = "") -> str:
    listed = ", ".join(wheels or [wheel(name, version)])
    return f'name = "{name}"\nversion = "{version}"\nwheels = [{listed}]\n{more}'


# -- pylock.toml


def test_a_pylock_gives_pins_and_the_hashes_of_all_files():
    inner = package("inner", "2.0", wheel("inner", "2.0"), wheel("inner", "2.0", "py2-none-any", B))
    found = pylock.parse(lock(package("outer"), inner), "pylock.toml", HERE)
    assert found.lines == ("outer==1.0", "inner==2.0")
    assert found.trusted == {
        ("outer", "1.0"): frozenset({A}),
        ("inner", "2.0"): frozenset({A, B}),
    }


def test_markers_groups_and_extras_choose():
    content = lock(
        package("old", more="marker = \"python_version < '3.12'\""),
        package("win", more="marker = \"sys_platform == 'win32'\""),
        package("here", more="marker = \"platform_machine == 'x86_64'\""),
        package("extra", more="marker = \"'gpu' in extras\""),
        package("dev", more="marker = \"'dev' in dependency_groups\""),
        head='lock-version = "1.0"\ncreated-by = "uv"\nextras = ["gpu"]\n',
    )
    assert pylock.parse(content, "pylock.toml", HERE).lines == ("here==1.0",)


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("cp312-cp312-manylinux_2_28_x86_64", True),
        ("cp312-cp312-manylinux2014_x86_64", True),
        ("cp312-cp312-manylinux1_x86_64", True),
        ("cp39-abi3-manylinux_2_36_x86_64", True),
        ("cp312-cp312-manylinux_2_37_x86_64", False),
        ("cp312-cp312-musllinux_1_2_x86_64", False),
        ("cp312-cp312-manylinux_2_28_aarch64", False),
        ("cp311-cp311-manylinux_2_28_x86_64", False),
        ("cp312-cp312-win_amd64", False),
    ],
)
def test_wheels_are_chosen_for_the_target(tag: str, fits: bool):
    content = lock(package("fast", "1.0", wheel("fast", "1.0", tag)))
    if fits:
        assert pylock.parse(content, "pylock.toml", HERE).lines == ("fast==1.0",)
    else:
        with pytest.raises(
            ConfigError, match=r"nothing to install for linux/amd64, Python 3\.12\.4"
        ):
            pylock.parse(content, "pylock.toml", HERE)


SDIST = (
    'name = "slow"\nversion = "1.0"\n'
    f'sdist = {{url = "https://example.com/slow-1.0.tar.gz", hashes = {{sha256 = "{A}"}}}}'
)


def test_an_sdist_needs_to_be_allowed():
    with pytest.raises(ConfigError, match=r"no wheel of slow 1\.0 for linux/amd64.*allow_sdist"):
        pylock.parse(lock(SDIST), "pylock.toml", HERE)
    assert pylock.parse(lock(SDIST), "pylock.toml", HERE, ("slow",)).lines == ("slow==1.0",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no lock file by PEP 751"),
        (b"\xff\xfe", "no lock file by PEP 751"),
        (b"packages = 1", "no lock file by PEP 751"),
        (b"[" * 5000, "no lock file by PEP 751"),
        (
            lock(head='lock-version = "2.0"\ncreated-by = "uv"\npackages = []\n'),
            "2.0 is not supported",
        ),
        (lock('version = "1"'), "no lock file by PEP 751"),
        (lock('name = "x"\nversion = "1"'), "no lock file by PEP 751"),
        (lock(package("x", "1.0", wheel("other", "1.0"))), "not consistent with package name"),
        (lock(package("x", "1.0", wheel("x", "2.0"))), "not consistent with package version"),
        (lock(package("x").replace(f'sha256 = "{A}"', "")), "At least one hash"),
        (lock(package("x").replace("sha256", "md5")), "x has no sha256 to lock"),
        (lock(package("x"), package("x")), "Multiple packages"),
        (lock('name = "x"\ndirectory = {path = "."}'), "comes from a directory"),
        (
            lock('name = "x"\nvcs = {type = "git", url = "https://h/x", commit-id = "1"}'),
            "comes from a directory, a repository",
        ),
        (
            lock(
                package("x"), head='lock-version="1.0"\ncreated-by="u"\nrequires-python=">=3.13"\n'
            ),
            "does not satisfy the Python version",
        ),
        (
            lock(
                package("x"),
                head='lock-version="1.0"\ncreated-by="u"\nenvironments=["os_name==\'nt\'"]\n',
            ),
            "does not satisfy any of the environments",
        ),
    ],
)
def test_a_pylock_that_cannot_be_locked(content: bytes, says: str):
    with pytest.raises(ConfigError, match=r"pylock\.toml") as caught:
        pylock.parse(content, "pylock.toml", HERE)
    assert says in str(caught.value)


# -- Pipfile.lock


def pipenv(default: object, **meta: object) -> bytes:
    return json.dumps({"_meta": {"pipfile-spec": 6, **meta}, "default": default}).encode()


def entry(**more: object) -> dict[str, object]:
    return {"version": "==1.0", "hashes": [f"sha256:{A}", f"sha256:{B}"], **more}


def test_a_pipfile_lock_gives_pins_and_hashes():
    content = pipenv(
        {
            "Outer_Name": entry(extras=["fast"], index="pypi"),
            "old": entry(markers="python_version < '3.12'"),
            "now": entry(markers="python_version >= '3.12'"),
        },
        requires={"python_version": "3.12"},
    )
    found = pipfile.parse(content, "Pipfile.lock", HERE)
    assert found.lines == ("Outer_Name[fast]==1.0", "now==1.0")
    assert found.trusted == {
        ("outer-name", "1.0"): frozenset({A, B}),
        ("now", "1.0"): frozenset({A, B}),
    }


PIPFILE = b"""
[[source]]
url = "https://pypi.org/simple"
verify_ssl = true
name = "pypi"

[packages]
numpy = "*"
My_Pkg = {version = "==1.0", extras = ["a"], markers = "python_version > '3'"}

[dev-packages]
pytest = ">=7"

[docs]
sphinx = "*"

[requires]
python_version = "3.11"

[scripts]
go = "python -m go"

[pipenv]
allow_prereleases = true
"""
# as pipenv 2026.10.3 has it of this file, and as releases did that kept names as they were typed
CANONICAL = "e08b0e8eca4070f8389ee3d43712494eb4211d352a377aaa6336f2d957882e35"
TYPED = "b0869c418bd39c0b49b734eecdbdbbee336503fcd487c012f70ce3affe4b6710"
SMALL = "f8877b8f3309d38e6d5130083f53a9d8a4416a94c2ade0079e8216840fc62cf5"


@pytest.mark.parametrize(
    ("project", "known"),
    [
        (PIPFILE, CANONICAL),
        (PIPFILE, TYPED),
        (PIPFILE.replace(b"My_Pkg", b"my-pkg"), CANONICAL),
        (PIPFILE.replace(b"python -m go", b"python -m come"), CANONICAL),
        (b'[packages]\nnumpy = "*"\n', SMALL),
        (None, CANONICAL),
        (PIPFILE, None),
    ],
)
def test_a_pipfile_lock_of_its_pipfile_passes(project: bytes | None, known: str | None):
    pipfile.check(pipenv({}, hash={"sha256": known}), "a/Pipfile.lock", project, "a/Pipfile")


@pytest.mark.parametrize(
    ("project", "says"),
    [
        (PIPFILE.replace(b"==1.0", b"==1.1"), "made from another a/Pipfile: it changed since"),
        (PIPFILE.replace(b"sphinx", b"mkdocs"), "Run pipenv lock, then mlops lock"),
        (PIPFILE.replace(b'"3.11"', b'"3.12"'), "made from another"),
        (PIPFILE.replace(b"pypi.org", b"example.com"), "made from another"),
        (b"\xff", "a/Pipfile is no Pipfile"),
        (b"a = " + b"[" * 5000, "a/Pipfile is no Pipfile"),
        (b"packages = 1", "a/Pipfile is no Pipfile"),
        (b"[packages]\nx = 2020-01-01", "a/Pipfile is no Pipfile"),
    ],
)
def test_a_stale_pipfile_lock_is_refused(project: bytes, says: str):
    content = pipenv({}, hash={"sha256": CANONICAL})
    with pytest.raises(ConfigError) as caught:
        pipfile.check(content, "a/Pipfile.lock", project, "a/Pipfile")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "_meta or default is missing"),
        (b'{"_meta": {"pipfile-spec": 6}}', "_meta or default is missing"),
        (pipenv({}).replace(b"6", b"7"), "pipfile-spec is 7, expected 6"),
        (pipenv({"x": 1}), "'x' is no package"),
        (pipenv({"-e .": entry()}), "'-e .' is no package"),
        (pipenv({"x\n--index-url http://evil": entry()}), "is no package"),
        (pipenv({"x": entry(version="*")}), "x has no exact version"),
        (pipenv({"x": entry(version=None)}), "x has no exact version"),
        (pipenv({"x": entry(version="==1.0\n--index-url=http://evil")}), "x has no exact version"),
        (pipenv({"x": entry(hashes=[])}), "x has no sha256"),
        (pipenv({"x": entry(hashes="sha256:" + A)}), "x has no sha256"),
        (pipenv({"x": entry(hashes=["md5:00"])}), "x has no sha256"),
        (pipenv({"x": entry(extras=["a]; evil"])}), "extras are no names"),
        (pipenv({"x": entry(markers="nonsense")}), "is no marker"),
        (pipenv({"x": {"git": "https://h/x", "ref": "1"}}), "comes from a directory"),
        (pipenv({"x": {"path": ".", "editable": True}}), "comes from a directory"),
        (
            pipenv({}, requires={"python_version": "3.9"}),
            "is for Python 3.9, and the base has 3.12.4",
        ),
    ],
)
def test_a_pipfile_lock_that_cannot_be_locked(content: bytes, says: str):
    with pytest.raises(ConfigError, match=r"Pipfile\.lock") as caught:
        pipfile.parse(content, "Pipfile.lock", HERE)
    assert says in str(caught.value)


# -- uv.lock: what is checked before uv reads it

UV = b"""\
version = 1
[[package]]
name = "me"
version = "0"
source = { virtual = "." }
[package.metadata]
requires-dist = [{ name = "numpy", specifier = ">=2,<3" }, { name = "x", marker = "extra == 'e'" }]
"""
PROJECT = b'[project]\nname = "me"\nversion = "0"\ndependencies = ["numpy < 3, >= 2"]\n'


def check(content: bytes = UV, project: bytes | None = PROJECT) -> None:
    uvlock.check(content, "uv.lock", project, "pyproject.toml")


def test_a_uv_lock_of_its_project_passes():
    check()
    check(b"version = 1\n")  # of a workspace, which only uv understands


@pytest.mark.parametrize(
    ("content", "project", "says"),
    [
        (b"", PROJECT, "version is None, expected 1"),
        (b"version = 2", PROJECT, "version is 2, expected 1"),
        (b"\xff", PROJECT, "uv.lock is no TOML"),
        (b"a = " + b"[" * 5000, PROJECT, "uv.lock is no TOML"),
        (b"<<<<<<< ours\n" + UV, PROJECT, "uv.lock is no TOML"),
        (b"version = 1\npackage = 1", PROJECT, "its packages have no names"),
        (b"version = 1\n[[package]]\nname = 1", PROJECT, "its packages have no names"),
        (UV, None, "has no pyproject.toml beside it"),
        (UV, b"[", "pyproject.toml is no TOML"),
        (
            UV,
            PROJECT.replace(b"< 3", b"< 4"),
            "is older than pyproject.toml: numpy<3,>=2, numpy<4,>=2",
        ),
        (
            UV,
            PROJECT.replace(b'["', b'["pandas", "'),
            "is older than pyproject.toml: pandas changed",
        ),
        (UV, PROJECT.replace(b"numpy <", b"numpy !"), "pyproject.toml: dependencies:"),
    ],
)
def test_a_uv_lock_that_cannot_be_locked(content: bytes, project: bytes | None, says: str):
    with pytest.raises(ConfigError) as caught:
        check(content, project)
    assert says in str(caught.value)


# -- whatever bytes they have


def refuses_or_reads(call: Callable[..., object], *given: object) -> None:
    with contextlib.suppress(ConfigError):
        call(*given)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["version", "hashes", "markers", "extras", "git", "requires", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@calm
@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_refused(content: bytes):
    refuses_or_reads(pylock.parse, content, "pylock.toml", HERE)
    refuses_or_reads(pipfile.parse, content, "Pipfile.lock", HERE)
    refuses_or_reads(check, content)
    refuses_or_reads(check, UV, content)
    refuses_or_reads(check_pyproject, content, "pyproject.toml")


@calm
@given(values, values)
def test_no_pipfile_lock_is_more_than_refused(default: object, meta: object):
    for document in (
        {"_meta": meta, "default": default},
        {"_meta": {"pipfile-spec": 6, "requires": meta}, "default": {"x": default}},
        {"_meta": {"pipfile-spec": 6}, "default": {"x": {"version": "==1", "hashes": default}}},
        {"_meta": {"pipfile-spec": 6}, "default": {"x": {**entry(), "markers": default}}},
    ):
        refuses_or_reads(pipfile.parse, json.dumps(document).encode(), "Pipfile.lock", HERE)


toml_values = st.sampled_from(
    [
        '"x"',
        "1",
        "true",
        "[]",
        "{}",
        '["x"]',
        "[{}]",
        "1979-05-27T07:32:00Z",
        '{sha256 = "x"}',
        '""',
    ]
)


@calm
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "name",
                    "version",
                    "marker",
                    "wheels",
                    "sdist",
                    "vcs",
                    "directory",
                    "requires-python",
                ]
            ),
            toml_values,
        ),
        max_size=6,
        unique_by=lambda pair: pair[0],
    )
)
def test_no_pylock_is_more_than_refused(fields: list[tuple[str, str]]):
    content = lock("\n".join(f"{key} = {value}" for key, value in fields))
    refuses_or_reads(pylock.parse, content, "pylock.toml", HERE)


@calm
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["version", "package", "source"]),
            toml_values | st.just('[{name = "x", source = {virtual = "."}, metadata = 1}]'),
        ),
        unique_by=lambda pair: pair[0],
    )
)
def test_no_uv_lock_is_more_than_refused(fields: list[tuple[str, str]]):
    content = "\n".join(f"{key} = {value}" for key, value in fields).encode()
    refuses_or_reads(check, content)
    refuses_or_reads(check, b"version = 1\n" + content.replace(b"version", b"other"))


# -- pins


def test_lines_lose_their_hashes_and_keep_their_markers():
    found = pinned.of_lines(
        [
            f"a==1.0 ; python_version > '3'     --hash=sha256:{A}     --hash=sha256:{B}",
            f"a==2.0 ; python_version < '3'     --hash=sha256:{B}",
            f"b @ https://example.com/b-1-py3-none-any.whl --hash=sha256:{A}",
            "-e ./lib",
        ]
    )
    assert found.lines == (
        "a==1.0 ; python_version > '3'",
        "a==2.0 ; python_version < '3'",
        "b @ https://example.com/b-1-py3-none-any.whl",
        "-e ./lib",
    )
    assert found.trusted == {
        ("a", "1.0"): frozenset({A, B}),
        ("a", "2.0"): frozenset({B}),
        ("b", "https://example.com/b-1-py3-none-any.whl"): frozenset({A}),
    }


@calm
@given(st.text(max_size=80))
def test_any_text_has_pins_or_none(text: str):
    for line in pinned.joined(text):
        pinned.pin_of(line)
    pinned.hashes_of(text)


# -- which file it is


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("requirements.txt", Kind.REQUIREMENTS),
        ("a/gpu.in", Kind.REQUIREMENTS),
        ("a/pyproject.toml", Kind.PYPROJECT),
        ("a/uv.lock", Kind.UV),
        ("pylock.toml", Kind.PYLOCK),
        ("a/pylock.gpu.toml", Kind.PYLOCK),
        ("Pipfile.lock", Kind.PIPFILE),
    ],
)
def test_kinds_by_name(path: str, kind: Kind):
    assert kind_of(path) is kind


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("environment.yml", "pip list --format=freeze"),
        ("envs/gpu-environment.yaml", "conda channels"),
        ("conda-lock.yml", "conda channels"),
        ("poetry.lock", "poetry export"),
        ("pdm.lock", "pdm export"),
        ("Pipfile", "Name Pipfile.lock"),
        ("setup.py", "would run it"),
        ("setup.cfg", "requirements.txt"),
    ],
)
def test_what_cannot_be_locked_comes_with_advice(path: str, advice: str):
    with pytest.raises(ConfigError) as caught:
        kind_of(path)
    assert advice in caught.value.hint


@pytest.mark.parametrize(
    ("names", "several"),
    [
        (["uv.lock", "pyproject.toml"], ()),
        (["uv.lock", "pylock.toml"], ("uv.lock", "pylock.toml")),
        (["uv.lock", "Pipfile.lock", "requirements.txt"], ("uv.lock", "Pipfile.lock")),
        (["requirements.txt", "pyproject.toml"], ("requirements.txt", "pyproject.toml")),
        (["requirements.txt", "uv.lock"], ("requirements.txt", "uv.lock")),
        (["requirements.txt", "requirements.in"], ()),
        (["requirements.txt"], ()),
        ([], ()),
    ],
)
def test_two_sources_at_once(names: list[str], several: tuple[str, ...]):
    assert ambiguous(dict.fromkeys(names, "")) == several


def test_a_compiled_requirements_file_is_no_source_of_its_own():
    text = "# This file was autogenerated by uv via the following command:\nnumpy==1\n"
    assert ambiguous({"uv.lock": "", "requirements.txt": text}) == ()
    assert ambiguous({"uv.lock": "", "requirements.txt": "numpy==1\n"}) != ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[project]\nname='x'\n", "has no [project] dependencies"),
        ("[project]\nname='x'\ndynamic=['dependencies']\n", "only the project's build knows them"),
        ("[tool.poetry.dependencies]\nnumpy='*'\n", "poetry export"),
        ("[", "is no TOML"),
        ("project = 1", "has no [project] dependencies"),
        ("tool = 1", "has no [project] dependencies"),
    ],
)
def test_a_pyproject_that_only_its_build_understands(text: str, says: str):
    with pytest.raises(ConfigError) as caught:
        check_pyproject(text.encode(), "pyproject.toml")
    assert says in str(caught.value)
    check_pyproject(b"[project]\nname='x'\ndependencies=[]\n", "pyproject.toml")
