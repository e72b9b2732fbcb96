"""Settings as a command line asks for them, and what is said when they cannot be."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from annotate.errors import UsageError
from annotate.settings import (
    Configuration,
    add_arguments,
    from_arguments,
)


def command(folder: Path, *arguments: str, **environment: str) -> Configuration:
    """What `annotate run ARGUMENTS` resolves to in `folder`."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser)
    return from_arguments(parser.parse_args(arguments), environment, folder)


def reason(configuration: Configuration, name: str) -> tuple[str, str]:
    return next((r.source, r.reason) for r in configuration.resolved if r.setting.name == name)


def refusal(folder: Path, *arguments: str, **environment: str) -> str:
    with pytest.raises(UsageError) as caught:
        command(folder, *arguments, **environment)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_status == 2
    return message
