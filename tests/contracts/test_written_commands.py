"""Every command that README, docs and runs write is one that there is, with flags that it takes."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from annotate import cli
from retrieval.__main__ import parser as retrieval_parser
from sample.__main__ import parser as sample_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "outputs" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "runs").glob("*.sh"))
PARSERS = {"annotate": cli._parser, "retrieval": retrieval_parser, "sample": sample_parser}
COMMAND = re.compile(r"-m (annotate|retrieval|sample) ([a-z][a-z-]+)([^`|#\n]*)")


def flags_of(program: str) -> dict[str, set[str]]:
    """The flags of each command of a program."""
    (commands,) = (
        action for action in PARSERS[program]()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return {
        name: {flag for action in parser._actions for flag in action.option_strings}
        for name, parser in commands.choices.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_written_commands_are_there_and_take_the_flags_they_are_written_with(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for program, command, rest in COMMAND.findall(text):
        known = flags_of(program)
        assert command in known, f"{program} {command}"
        assert set(re.findall(r"--[a-z][a-z-]*", rest)) <= known[command], f"{program} {command}{rest}"


def test_commands_are_found_at_all() -> None:
    found = {match[:2] for page in PAGES for match in COMMAND.findall(page.read_text(encoding="utf-8"))}
    assert {("annotate", "run"), ("retrieval", "evaluate"), ("sample", "score")} <= found
    assert len(found) >= 15
