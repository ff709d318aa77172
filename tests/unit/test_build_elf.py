"""The reader of ELF files: against ldd's answer, and against damaged files."""

import contextlib
import re
import shutil
import struct
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops.build import elf
from mlops.errors import BuildError

PROGRAM = Path(sys.executable).resolve()
NUMBERS = count()


def test_finds_what_the_dynamic_linker_loads():
    if (ldd := shutil.which("ldd")) is None:
        pytest.fail("ldd is part of libc-bin: the machine has glibc and not its tools")
    text = subprocess.run([ldd, PROGRAM], capture_output=True, text=True, check=True).stdout
    expected = {
        Path(match[1]).resolve()
        for match in re.finditer(r"(?:=> |^\s+)(/\S+) \(", text, re.MULTILINE)
    }
    found = {path.resolve() for _, path in elf.closure([PROGRAM])}
    assert expected
    assert found - {PROGRAM} == expected


def test_scripts_and_data_are_no_programs(tmp_path: Path):
    for number, content in enumerate((b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + b"\0" * 100)):
        path = tmp_path / str(number)
        path.write_bytes(content)
        assert elf.read(path) is None
        assert elf.closure([path]) == {(str(path), path)}


def test_a_library_that_is_nowhere_is_named_with_who_asks(tmp_path: Path):
    content = PROGRAM.read_bytes()
    program = elf.read(PROGRAM)
    assert program is not None
    wanted = next(name for name in program.needed if name.startswith("lib"))
    path = tmp_path / "program"
    path.write_bytes(content.replace(wanted.encode() + b"\0", b"x" * len(wanted) + b"\0"))
    with pytest.raises(BuildError, match=f"{path} needs x+, which is not on this machine"):
        elf.closure([path])


def test_runpath_is_searched_from_where_the_program_stands(tmp_path: Path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(PROGRAM, tmp_path / "lib" / "libx.so")
    found = elf.read(PROGRAM)
    assert found is not None
    program = elf.Program(found.machine, "", ("libx.so",), ("$ORIGIN/../lib",))
    asker = tmp_path / "bin" / "tool"
    assert elf._find("libx.so", program, asker).resolve() == tmp_path / "lib" / "libx.so"
    other = elf.Program(found.machine + 1, "", ("libx.so",), program.rpath)
    with pytest.raises(BuildError, match="is not on this machine"):
        elf._find("libx.so", other, asker)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(st.integers(16, 2000), st.integers(0, 255), max_size=40), st.integers(0, 4000)
)
def test_damage_is_an_error_or_harmless(tmp_path: Path, changes: dict[int, int], cut: int):
    content = bytearray(Path("/bin/true").read_bytes()[: 64 + cut])
    for at, value in changes.items():
        if at < len(content):
            content[at] = value
    path = tmp_path / str(next(NUMBERS))  # a new name: what is read is remembered
    path.write_bytes(content)
    with contextlib.suppress(BuildError):
        elf.read(path)


@pytest.mark.parametrize("offset", [2**63, 2**64 - 1, 2**40])
def test_offsets_beyond_the_file(tmp_path: Path, offset: int):
    path = tmp_path / "program"
    header = bytearray(PROGRAM.read_bytes()[:4096])
    struct.pack_into("<Q", header, 32, offset)
    path.write_bytes(header)
    with pytest.raises(BuildError, match="is damaged"):
        elf.read(path)


def test_ld_so_conf_and_its_includes(tmp_path: Path):
    (tmp_path / "conf.d").mkdir()
    main = tmp_path / "ld.so.conf"
    main.write_text("# comment\ninclude conf.d/*.conf\n/opt/lib/ # mine\nhwcap 0 x\n")
    (tmp_path / "conf.d/b.conf").write_text("/b\n")
    (tmp_path / "conf.d/a.conf").write_text(f"/a\ninclude {main}\n")
    found = list(elf._configured(main, 0))
    assert found[0] == "/a"
    assert {"/a", "/b", "/opt/lib"} == set(found)
