"""The command `mlops`: finds the command file, runs it, turns errors into one line and a code."""

from __future__ import annotations

import ast
import contextlib
import errno
import importlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops import __version__
from mlops.cli import render, shellwords
from mlops.errors import MlopsError

# command → (module below mlops.cli, function or sub-application, hidden)
# A module is imported only when its command is called, or when help lists them all.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "demo"),
    "init": ("init", "init"),
    "lock": ("lock", "lock"),
    "config": ("config", "app"),
    "data": ("data", "app"),
    "plan": ("plan", "plan"),
    "run": ("run", "run"),
    "runs": ("runs", "app"),
    "watch": ("watch", "watch"),
    "trigger": ("trigger", "trigger"),
    "triggers": ("triggers", "triggers"),
    "promote": ("promote", "promote"),
    "rollback": ("rollback", "rollback"),
    "hold": ("hold", "hold"),
    "resume": ("hold", "resume"),
    "quarantine": ("quarantine", "quarantine"),
    "guard": ("guard", "guard"),
    "status": ("status", "status"),
    "history": ("history", "history"),
    "show": ("show", "show"),
    "diff": ("diff", "diff"),
    "image": ("image", "app"),
    "deploy": ("deploy", "deploy"),
    "gc": ("gc", "gc"),
    "doctor": ("doctor", "doctor"),
    "step": ("step", "step"),
}
HIDDEN = frozenset({"step"})
_INTERRUPTED = 130  # 128 + SIGINT

_EPILOG = "Exit codes: 0 done, 1 the answer is no, 2 usage or configuration, 3 an outside system failed, 4 a bug."


def _version(value: bool) -> None:
    if value:
        typer.echo(f"mlops {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """GitOps CI/CD for machine learning: commit → plan → run → release → promote → rollback."""


def build(only: str | None = None) -> typer.Typer:
    """The application with one command, or with all of them where `only` is None."""
    app = _bare()
    for name, (module, attribute) in COMMANDS.items():
        if only is not None and name != only:
            continue
        _register(app, name, module, attribute)
    return app


def _bare() -> typer.Typer:
    app = typer.Typer(
        name="mlops",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=_EPILOG,
        rich_markup_mode=None,
    )
    app.callback(epilog=_EPILOG)(_root)
    return app


def _register(app: typer.Typer, name: str, module: str, attribute: str) -> None:
    found: Any = getattr(importlib.import_module(f"mlops.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name, hidden=name in HIDDEN)
    else:
        _add(app, name, found)


def _outline() -> typer.Typer:
    """The application as its help shows it. Commands are read, not imported: help stays fast."""
    app = _bare()
    for name, (module, attribute) in COMMANDS.items():
        path = Path(__file__).with_name(f"{module}.py")
        found = _docstring(ast.parse(path.read_text(encoding="utf-8")), attribute)

        def stub() -> None: ...

        stub.__doc__ = found
        _add(app, name, stub)
    return app


def _docstring(tree: ast.Module, name: str) -> str:
    """Of a function, or of the sub-application that `name` is assigned to."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            for keyword in node.value.keywords:
                if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
    return ""


def _add(app: typer.Typer, name: str, function: Callable[..., Any]) -> None:
    app.command(name, hidden=name in HIDDEN)(function)


def _called() -> str | None:
    """The command on the command line, None where help must know all of them."""
    if shellwords.asked():
        name = shellwords.command()
        return name if name in COMMANDS else None
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first == "--version":
        return first  # no command at all
    return first if first in COMMANDS else None


def _listing() -> bool:
    """Whether the commands are only to be listed: for help, or for who is typing the first word."""
    if shellwords.asked():
        return _called() is None
    return sys.argv[1:] in ([], ["--help"], ["-h"])


def main() -> None:
    """Run the command line and exit with its code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a locale that lacks a character is no bug of ours
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run())


def run() -> int:
    """Run the command line; the exit codes are those of mlops.errors."""
    verbose = "--verbose" in sys.argv or "-v" in sys.argv
    try:
        if not os.environ.get("HOME"):
            from mlops.adapters import home  # noqa: PLC0415

            home.settle()
        shellwords.mend()
        app = _outline() if _listing() else build(_called())
        with shellwords.offering():
            result = app(standalone_mode=False)
    except MlopsError as exc:
        render.fail(str(exc))
        if verbose:
            traceback.print_exc()
        return exc.exit_code
    except (KeyboardInterrupt, EOFError):
        return _interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as exc:  # a disk that is full, a directory that cannot be made, a closed stdout
        return _outside(exc)
    except Exception as exc:  # noqa: BLE001 - the last wall: a bug becomes one line, a log and exit 4
        return _other(exc, verbose=verbose)
    if result == _INTERRUPTED:  # typer's own answer to Ctrl-C
        return _interrupted()
    return result if isinstance(result, int) else 0


def _outside(exc: OSError) -> int:
    with contextlib.suppress(OSError):
        where = f"{exc.filename}: " if exc.filename else ""
        render.fail(f"{where}{exc.strerror or exc}")
    if exc.errno in (
        errno.ENOSPC,
        errno.EBADF,
        errno.EIO,
    ):  # what is buffered cannot be written either
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 3


def _interrupted() -> int:
    render.note("interrupted; repeat the command to go on")
    return _INTERRUPTED


def _other(exc: Exception, *, verbose: bool) -> int:
    show = getattr(exc, "show", None)
    if callable(show):  # typer's own: a usage error that knows how to print itself
        show()
        return int(getattr(exc, "exit_code", 2))
    if type(exc).__name__ == "Abort":
        return _interrupted()
    if type(exc).__name__ == "Exit":
        code = int(getattr(exc, "exit_code", 0))
        return _interrupted() if code == _INTERRUPTED else code
    text = "".join(traceback.format_exception(exc))
    with tempfile.NamedTemporaryFile("w", prefix="mlops-bug-", suffix=".log", delete=False) as log:
        log.write(text)
    if verbose:
        sys.stderr.write(text)
    render.fail(
        f"a bug in mlops: {type(exc).__name__}: {exc}. The log is {Path(log.name)}: please report it"
    )
    return 4
