"""What bash cuts is put together again."""

import pytest

from mlops.cli import shellwords


@pytest.mark.parametrize(
    ("pieces", "words", "kept"),
    [
        ("mlops show spam @ pr", "mlops show spam@pr", "spam"),
        ("mlops show spam @", "mlops show spam@", "spam"),
        ("mlops show spam @ sha256 : 9f", "mlops show spam@sha256:9f", "spam@sha256:"),
        ("mlops show spam @ sha256 :", "mlops show spam@sha256:", "spam@sha256:"),
        ("mlops diff spam @ prod st", "mlops diff spam@prod st", ""),
        ("mlops promote spam @ dev --to = st", "mlops promote spam@dev --to st", ""),
        ("mlops rollback prod --to = spam @ st", "mlops rollback prod --to spam@st", "spam"),
        ("mlops rollback dev,st", "mlops rollback dev,st", ""),
        ("mlops show spam@pr", "mlops show spam@pr", ""),  # who took @ out of COMP_WORDBREAKS
    ],
)
def test_words(pieces, words, kept):
    assert shellwords.joined(pieces.split(" ")) == (words.split(" "), kept)


def test_a_new_word_after_a_finished_one():
    assert shellwords.joined(["mlops", "show", "spam", "@", "prod", ""])[0][-1] == ""
    assert shellwords.joined(["mlops", "promote", "--to", "=", "st", ""]) == (
        ["mlops", "promote", "--to", "st", ""],
        "",
    )
    assert shellwords.joined(["mlops", "promote", "--to", "="])[0] == [
        "mlops",
        "promote",
        "--to",
        "",
    ]


@pytest.mark.parametrize(
    ("environ", "command"),
    [
        ({"_MLOPS_COMPLETE": "complete_bash", "COMP_WORDS": "mlops sh", "COMP_CWORD": "1"}, ""),
        (
            {"_MLOPS_COMPLETE": "complete_bash", "COMP_WORDS": "mlops show ", "COMP_CWORD": "2"},
            "show",
        ),
        ({"_MLOPS_COMPLETE": "complete_bash", "COMP_WORDS": "", "COMP_CWORD": "no"}, ""),
        ({"_MLOPS_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "mlops sh"}, ""),
        ({"_MLOPS_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "mlops show "}, "show"),
        ({"_MLOPS_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": "mlops show s"}, "show"),
    ],
)
def test_the_command_that_is_completed(environ, command, monkeypatch):
    for name in ("COMP_WORDS", "COMP_CWORD", "_TYPER_COMPLETE_ARGS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert shellwords.command() == command
