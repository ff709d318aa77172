"""Loaded by every Python process of a command under test: traces it, and kills at a chosen place.

Audit events name each program started and each rename. `KILLING_TRACE` is the file that they are
appended to; `KILLING_AT` is the line at which the command dies: the process that got there, and the one
that the user started, both by SIGKILL, before the event happens.
"""

import os
import re
import signal
import sys

_TRACE = os.environ.get("KILLING_TRACE")
_AT = os.environ.get("KILLING_AT", "")
_HEX = re.compile(r"[0-9a-f]{7,64}")
_RANDOM = re.compile(r"[\w-]{20,}")  # names of temporary files
_PATH = re.compile(r"(/[^\s:,]+)+")


def _shape(words):
    """A command or path without what differs from run to run."""
    words = [os.fsdecode(word) for word in words]
    while "-c" in words[:-1]:  # git's settings, alike in every call
        at = words.index("-c")
        del words[at : at + 2]
    text = " ".join(words)
    # numbers of processes and of bubblewrap's descriptors, and temporary names
    text = re.sub(r"-[0-9]+\b|(?<=--args )[0-9]+|tmp\S*", "N", _HEX.sub("H", text))
    return _PATH.sub("P", text)[:160]


def _hook(event, args):
    if event == "subprocess.Popen":
        words = list(args[1]) if isinstance(args[1], (list, tuple)) else [args[1]]
        kind = "start " + os.path.basename(os.fsdecode(words[0])) + " " + _shape(words[1:])
    elif event == "os.rename":
        name = os.path.basename(os.fsdecode(args[1]))
        kind = "rename " + _RANDOM.sub("N", _HEX.sub("H", name))
    else:
        return
    line = f"{_ROLE} | {kind}"
    seen = _SEEN[line] = _SEEN.get(line, 0) + 1
    line = f"{line} #{seen}".replace("\n", " ")
    descriptor = os.open(_TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, (line + "\n").encode(errors="replace"))
    os.close(descriptor)
    if line == _AT:
        main = int(os.environ["KILLING_MAIN"])
        if main != os.getpid():
            os.kill(main, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


if _TRACE:
    _SEEN = {}
    os.environ.setdefault("KILLING_MAIN", str(os.getpid()))
    words = [w for w in getattr(sys, "orig_argv", sys.argv)[1:] if not w.startswith("-")]
    _ROLE = _shape([w for w in words if w != "mlops"][:2])
    sys.addaudithook(_hook)
