"""Packages of every kind that wheels can hold: laid out, and used in the built image for real."""

import sys
from pathlib import Path

import pytest

from mlops.errors import BuildError
from tests.fakes.wheels import LINK, PROGRAM, index, wheel
from tests.system.build.conftest import Bench

PYTHON = f"python3.{sys.version_info.minor}"
SITE = f"/opt/venv/lib/{PYTHON}/site-packages"


def test_scripts_entry_points_and_data(bench: Bench):
    line = wheel(
        bench.wheels,
        "many-things",
        {
            "many_things.py": "def main():\n    print('many')\n",
            "many_things-1.0.data/scripts/asks.py": "#!python\nimport sys, many_things; print(sys.prefix)\n",
            "many_things-1.0.data/scripts/says.sh": "#!/bin/sh\necho said\n",
            "many_things-1.0.data/data/share/many/data.txt": "data\n",
            "many_things-1.0.data/data/etc/many.conf": "conf\n",
            "many_things-1.0.data/headers/many.h": "int many;\n",
            "many_things-1.0.data/purelib/pure.py": "x = 'pure'\n",
            "many_things-1.0.data/platlib/plat.py": "x = 'plat'\n",
        },
        scripts="[console_scripts]\nmany = many_things:main\n[plugs]\nfirst = many_things:main\n",
    )
    built = bench.build(line)
    assert bench.run(built, "many") == "many\n"
    assert bench.run(built, "asks.py") == "/opt/venv\n"
    assert bench.run(built, "says.sh") == "said\n"
    assert bench.run(built, "cat", "/opt/venv/share/many/data.txt", "/opt/venv/etc/many.conf") == (
        "data\nconf\n"
    )
    asks = (
        "import importlib.metadata as m, pure, plat, hashlib, base64, pathlib\n"
        "print(pure.x, plat.x, [e.load().__name__ for e in m.entry_points(group='plugs')])\n"
        "d = m.distribution('many-things')\n"
        "for f in d.files:\n"
        "    p = pathlib.Path(d.locate_file(f))\n"
        "    assert p.is_file(), p\n"
        "    if f.hash:\n"
        "        code = base64.urlsafe_b64encode(hashlib.sha256(p.read_bytes()).digest()).rstrip(b'=')\n"
        "        assert code.decode() == f.hash.value, p\n"
        "print(sorted(str(f) for f in d.files if f.name == 'many.h'))\n"
    )
    header = f"../../../include/site/{PYTHON}/many-things/many.h"
    assert bench.python(built, asks) == f"pure plat ['main']\n['{header}']\n"


def test_pth_files_are_obeyed(bench: Bench):
    line = wheel(
        bench.wheels,
        "with-pth",
        {
            "with_pth.pth": "beside\nimport sys; sys.told = True\n",
            "beside/there.py": "x = 1\n",
        },
    )
    built = bench.build(line)
    assert bench.python(built, "import sys, there; print(there.x, sys.told)") == "1 True\n"


def test_a_namespace_shared_by_two_distributions(bench: Bench):
    lines = [
        wheel(bench.wheels, f"space-{name}", {f"space/{name}/__init__.py": f"x = '{name}'\n"})
        for name in ("one", "two")
    ]
    # the old way: both bring the same file
    old = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    lines += [
        wheel(
            bench.wheels,
            f"old-{name}",
            {"old/__init__.py": old, f"old/{name}.py": f"x = '{name}'\n"},
        )
        for name in ("one", "two")
    ]
    built = bench.build("".join(lines))
    asks = "import space.one, space.two, old.one, old.two; print(space.one.x, space.two.x, old.one.x, old.two.x)"
    assert bench.python(built, asks) == "one two one two\n"


def test_packages_that_collide_are_refused_by_name(bench: Bench):
    lines = [
        wheel(bench.wheels, f"clash-{name}", {"clash.py": f"x = '{name}'\n"})
        for name in ("one", "two")
    ]
    with pytest.raises(BuildError) as refused:
        bench.build("".join(lines))
    assert f"clash_one 1.0 and clash_two 1.0 both install {SITE}/clash.py" in refused.value.message
    assert "Require one of them only" in refused.value.hint


def test_names_that_are_not_ascii(bench: Bench):
    line = wheel(
        bench.wheels,
        "umlauts",
        {
            "umlauts/__init__.py": "",
            "umlauts/größe.py": "x = 'groß'\n",
            "umlauts/日本/データ.txt": "d",
        },
    )
    built = bench.build(line)
    asks = (
        "import umlauts, pathlib, importlib\n"
        "m = importlib.import_module('umlauts.größe')\n"
        "print(ascii(m.x), (pathlib.Path(umlauts.__file__).parent / '日本' / 'データ.txt').read_text())"
    )
    assert bench.python(built, asks) == "'gro\\xdf' d\n"


def test_modes_and_links(bench: Bench):
    """A program keeps its bit; a link in a wheel is no link, as with every installer (PEP 427)."""
    line = wheel(
        bench.wheels,
        "modes",
        {
            "modes/__init__.py": "",
            "modes/tool": ("#!/bin/sh\necho ran\n", PROGRAM),
            "modes/link.txt": ("__init__.py", LINK),
            "modes/out.txt": ("/etc/passwd", LINK),
        },
    )
    built = bench.build(line)
    assert bench.run(built, f"{SITE}/modes/tool") == "ran\n"
    asks = (
        "import modes, os, stat\n"
        "at = os.path.dirname(modes.__file__)\n"
        "for n in ('tool', 'link.txt', 'out.txt'):\n"
        "    s = os.lstat(f'{at}/{n}'); print(n, oct(s.st_mode), open(f'{at}/{n}').read()[:11])"
    )
    assert bench.python(built, asks) == (
        "tool 0o100755 #!/bin/sh\ne\nlink.txt 0o100755 __init__.py\nout.txt 0o100755 /etc/passwd\n"
    )


def test_extras_are_what_the_lock_says(bench: Bench):
    """A lock holds what the extras ask for as pins of their own; nothing is followed at a build."""
    lines = wheel(
        bench.wheels, "extra", {"extra.py": ""}, requires=("more; extra == 'all'", "never-there")
    )
    lines = lines.replace("extra==", "extra[all]==") + wheel(bench.wheels, "more", {"more.py": ""})
    built = bench.build(lines)
    assert bench.python(built, "import extra, more; print('both')") == "both\n"


def test_a_wheel_by_its_url(bench: Bench):
    line = wheel(bench.wheels, "by-url", {"by_url.py": "x = 1\n"})
    with index(bench.wheels) as (place, _):
        host = place.split("/")[0]
        url = f"http://{host}/files/by_url-1.0-py3-none-any.whl"
        given = line.replace("by-url==1.0", f"by-url @ {url}")
        built = bench.build(given)
        assert bench.python(built, "import by_url; print(by_url.x)") == "1\n"
        with pytest.raises(BuildError, match=r"has other bytes than requirements\.lock pins"):
            bench.build(given[:-9] + "00000000\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-e .", r"requirements\.lock:2: -e \. is an editable install"),
        ("--index-url https://u:hidden@x/simple", "--index-url https://…@x/simple is an option"),
        ("./here.whl --hash=sha256:{0}", "is a path of one machine"),
        ("x @ file:///here/x-1-py3-none-any.whl --hash=sha256:{0}", "is a path of one machine"),
        ("x @ git+https://h/x@abc --hash=sha256:{0}", "is a repository and not a package"),
        ("git+ssh://git@h/x", "is a repository and not a package"),
        ("x @ https://u:hidden@h/x-1-py3-none-any.whl --hash=sha256:{0}", "has a user or password"),
        ("x @ https://h/x-1.tar.gz --hash=sha256:{0}", "the URL of something else than a wheel"),
        ("x @ ftp://h/x-1-py3-none-any.whl --hash=sha256:{0}", "comes by ftp URL"),
        ("x>=1 --hash=sha256:{0}", "is no package with an exact version"),
        ("x==1.* --hash=sha256:{0}", "is no package with an exact version"),
        ("x==1", "has no sha256"),
        ("x==1 --hash=md5:{0}", "has no sha256"),
        ("x==1 --hash=sha256:{0} --config-settings a=b", "has no sha256"),
        ("x @ http://[ --hash=sha256:{0}", "has a URL that cannot be read"),
    ],
)
def test_lines_that_no_build_may_follow(bench: Bench, line: str, message: str):
    text = "# a comment\n" + line.replace("{0}", "0" * 64)
    with pytest.raises(BuildError, match=message) as refused:
        bench.build(text)
    assert "hidden" not in str(refused.value)


def test_no_wheel_for_the_target(bench: Bench):
    line = wheel(bench.wheels, "other", {"other.py": ""}, tag="cp38-cp38-manylinux_2_17_x86_64")
    with pytest.raises(BuildError) as refused:
        bench.build(line)
    said = refused.value.message
    version = ".".join(map(str, sys.version_info[:3]))
    assert said.startswith(
        f"there is no wheel of other 1.0 for {bench.base.platform}, Python {version}"
    )
    assert "`cp38`" in said
    assert "build: {allow_sdist: [other]}" in refused.value.hint


def test_a_yanked_release_is_named(bench: Bench, settings, tmp_path: Path):
    line = wheel(bench.wheels, "regretted", {"regretted.py": ""})
    marks = {"regretted-1.0-py3-none-any.whl": "it eats data"}
    with index(bench.wheels, yanked=marks) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        built = bench.build(line)
    assert built.notes == ("regretted 1.0 was withdrawn from its index: it eats data",)
