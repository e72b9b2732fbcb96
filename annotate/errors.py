"""The one family of errors. The CLI prints them as one line and exits with `exit_status`; anything else is a
bug.

    CirError
    |- UsageError        a flag, a setting or an environment variable that cannot be used          exit 2
    |- InputError        a dataset file or record that is broken; names file and record            exit 2
    |- OutputError       OUT cannot be written, holds another job, or is in use                    exit 2
    |- TeacherRefused    before the run: unreachable, wrong model, canary failed, port in use      exit 2
    `- RunIncomplete     the run started and could not finish; says how to go on                   exit 1

A message says what happened, where (file, record, URL), and what to do next.
"""

from __future__ import annotations


class CirError(Exception):
    """Base of all errors that a user can act on; `str(error)` is one line."""

    exit_status = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UsageError(CirError):
    """A flag, setting or environment variable cannot be used."""


class InputError(CirError):
    """A dataset file or record is broken."""


class OutputError(CirError):
    """OUT cannot be written, holds another job's results, or is in use."""


class TeacherRefused(CirError):
    """The teacher cannot be used for this run; nothing was asked."""


class RunIncomplete(CirError):
    """The run started but could not account for every triplet; the same command goes on."""

    exit_status = 1
