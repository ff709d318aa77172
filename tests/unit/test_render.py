"""What reaches a terminal: tables of any width, text that cannot deceive, diffs that can be applied."""

import io
import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from mlops.cli import render, tables, waiting
from mlops.cli.options import Output
from mlops.cli.terminal import visible, width

DIGEST = "sha256:" + "9f2c" * 16
HEADINGS = ("environment", "model", "release", "hold")
ROWS = [
    ("prod", "spam", DIGEST, "held by Ada until 2019-07-16T12:00:00Z: predicts nonsense (INC-7)"),
    ("staging", "eggs", "-", "-"),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Terminal()
    # pytest puts its own streams in place again before the test itself
    return lambda *names: [monkeypatch.setattr(name, screen) for name in names] and screen


@pytest.mark.parametrize("room", [10, 40, 60, 80, 120, 200, 400])
def test_no_column_vanishes_and_no_word_is_cut(room):
    head, body = tables.drawn(HEADINGS, ROWS, room)
    lines = [*head, *body]
    words = " ".join(lines).split()
    for text in (*HEADINGS, *(word for row in ROWS for cell in row for word in cell.split())):
        assert text in words or f"{text}:" in words
    assert all(width(line) <= room or DIGEST in line or room == 10 for line in lines)
    assert bool(head) == (room > 110), "side by side where the digest leaves room, else stacked"


def test_a_narrow_terminal_gets_a_fact_to_a_line():
    _, body = tables.drawn(("model", "hold"), [("spam", "a b"), ("eggs", "-")], 5)
    assert body == ["model: spam", "hold:  a", "       b", "", "model: eggs", "hold:  -"]


def test_cells_fold_between_words():
    head, body = tables.drawn(("model", "reason"), [("spam", "it predicts nonsense")], 20)
    assert [*head, *body] == [
        "model  reason",
        "─────  ─────────────",
        "spam   it predicts",
        "       nonsense",
    ]


def test_wide_characters_take_two_columns_and_marks_none():
    assert [width(text) for text in ("spam", "模型", "🔥", "e\u0301")] == [4, 4, 2, 1]
    lines = list(tables.piped(("model", "by"), [("模型", "Ada"), ("spam", "Bob")]))
    assert lines == ["MODEL  BY", "模型   Ada", "spam   Bob"]


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[8mb", r"a\x1b[8mb"),
        ("a\rb\nc", r"a\x0db\x0ac"),
        ("\x9b2J\x7f\0", r"\x9b2J\x7f\x00"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("sp\u200bam\ufeff", r"sp\u200bam\ufeff"),
        ("\u2028\u2066", r"\u2028\u2066"),
        ("\u3164\u115f", r"\u3164\u115f"),
        ("\U000e0041\U000e0101", r"\U000e0041\U000e0101"),
        ("\udc80", r"\udc80"),
        ("plain words: 模型 é 🔥 $(id)", "plain words: 模型 é 🔥 $(id)"),
        ("no\u00a0break", "no break"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_shown(hostile, shown, terminal):
    screen = terminal("sys.stdout")
    assert visible(hostile) == shown
    assert render.safe(hostile) == shown
    render.table(("reason",), [(hostile,)])
    assert screen.getvalue().splitlines()[-1] == shown


def test_a_quoted_stranger_cannot_paint_our_sentences(terminal):
    screen = terminal("sys.stdout", "sys.stderr")
    render.line("held: \x1b[31mno")
    render.warn("by \x1b[8mEve")
    assert screen.getvalue() == ("held: \\x1b[31mno\n\x1b[33mwarning:\x1b[0m by \\x1b[8mEve\n")


def test_json_says_the_same_without_what_a_terminal_obeys(capsys):
    value = [{"reason": '\x1b[8m\u202e\x9b\x7f "模型"\u3164 \\ \udc80 \U000e0041\n'}]
    render.answer(value, Output.JSON, lambda: None)
    said = capsys.readouterr().out
    assert json.loads(said) == value
    assert "模型" in said
    assert visible(said, "\n") == said


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(name, value, terminal, monkeypatch):
    screen = terminal("sys.stdout")
    render.diff("-a\n+b\n")
    render.table(HEADINGS, ROWS)
    assert "\x1b[31m-a\x1b[0m\n" in screen.getvalue()
    screen.truncate(0)
    monkeypatch.setenv(name, value)
    render.diff("-a\n+b\n")
    render.table(HEADINGS, ROWS)
    assert "-a\n+b\n" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


@pytest.mark.parametrize(("told", "narrow"), [("40", True), ("200", False)])
def test_columns_is_honoured(told, narrow, terminal, monkeypatch):
    screen = terminal("sys.stdout")
    monkeypatch.setenv("COLUMNS", told)
    render.table(HEADINGS, ROWS)
    assert ("environment: prod" in screen.getvalue()) == narrow


def test_a_piped_diff_is_its_very_bytes(capfd):
    text = "-a\u2028b\r\n+\x0cc\r\n \x1b模\n"
    render.diff(text)
    assert os.fsencode(capfd.readouterr().out) == text.encode()


def test_a_long_wait_is_told_on_a_terminal_alone(monkeypatch, capsys):
    with waiting.told("fetching main", patience=0):
        until_said()
    assert capsys.readouterr().err == ""
    told = Terminal()
    monkeypatch.setattr("sys.stderr", told)
    with waiting.told("fetching main", patience=60):
        pass
    assert told.getvalue() == "", "what is quick is done in silence"
    with waiting.told("fetching main", patience=0):
        until_said()
    assert told.getvalue() == "fetching main …\n"


def until_said():
    """The timer is a thread: wait for its word, which comes."""
    for thread in [
        t for t in waiting.threading.enumerate() if isinstance(t, waiting.threading.Timer)
    ]:
        thread.join()


@pytest.mark.parametrize(
    ("passed", "told"),
    [(-86400, "0 s"), (-1, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (86400, "1 d")],
)
def test_an_age_is_never_negative(passed, told):
    """A commit of a machine whose clock is a day ahead is not older than new."""
    now = datetime(2024, 1, 2, tzinfo=UTC)
    assert render.age(now - timedelta(seconds=passed), now) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 B"), (999, "999 B"), (3120, "3.1 kB"), (99_999, "100.0 kB"), (100_000, "0.1 MB"), (41_200_000, "41.2 MB")],
)  # fmt: skip
def test_sizes_are_never_rounded_to_nothing(count, told):
    assert render.size(count) == told
