"""The warden of containers, when the machine is slow."""

import os
import sys
from pathlib import Path

from mlops.adapters.executors.local.runtime import warden
from mlops.adapters.executors.local.runtime.launch import Launch
from mlops.adapters.executors.local.runtime.running import Told
from mlops.adapters.executors.local.runtime.wards import Wards

# A warden that loses the processor for a moment each time it has forked.
SLOW = f"""
import os, runpy, time
fork = os.fork
def slowly():
    pid = fork()
    if pid:
        time.sleep(0.3)
    return pid
os.fork = slowly
runpy.run_path({warden.__file__!r}, run_name="__main__")
"""

PIECES = """
import os, sys, time
to = int(sys.argv[1])
os.write(to, b'{ "child-pid": 7')
time.sleep(1)
os.write(to, b' }\\n')
"""


def test_what_a_slow_warden_tells_never_comes_between_what_bubblewrap_tells(monkeypatch, tmp_path):
    program = tmp_path / "warden.py"
    program.write_text(SLOW)
    monkeypatch.setattr(warden, "__file__", str(program))
    reading, writing = os.pipe()
    told_in_pieces = (sys.executable, "-c", PIECES, str(writing))
    wards = Wards()  # they end with it
    ward = wards.start(Launch(told_in_pieces, dict(os.environ), Path("/"), (writing,), reading))
    told = Told(ward.status)
    while not told.over:
        told.read()
    os.close(ward.status)
    os.close(ward.output)
    assert told.first == 7
    assert told.pid > 1
    assert told.ended == 0
