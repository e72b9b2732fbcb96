"""`python -m flows train-eval …`: the flags of `python -m retrieval train-eval`, run as a Prefect flow."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # models are folders; nothing here needs a hub

from annotate.errors import CirError, RunIncomplete
from annotate.settings.values import Given, url
from annotate.text import plain, take_any_text
from flows.prefect_api import HOME, prefect_api
from retrieval.__main__ import parser, refuse_files


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status as there: 0, 1 (could not complete), 2 (bad usage or input)."""
    take_any_text(sys.stdout, sys.stderr)
    flags = list(sys.argv[1:] if argv is None else argv)
    if flags[:1] != ["train-eval"]:
        print("error: python -m flows knows train-eval only; see python -m retrieval", file=sys.stderr)
        return 2
    try:
        refuse_files(parser().parse_args(flags))  # bad usage ends here, before a server is started
        with prefect_api(given_api(os.environ), HOME) as api:
            print(f"Prefect: {api.removesuffix('/api')}", file=sys.stderr, flush=True)
            from flows.train_eval import run_flow  # only now: Prefect reads its settings on import

            print(run_flow(parameters(flags[1:])), end="")
    except CirError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return RunIncomplete.exit_status
    return 0


def given_api(environment: Mapping[str, str]) -> str | None:
    """The Prefect server of the environment, by the rules of `annotate run`. Raises `UsageError`, also for a
    URL with a password, which is not shown."""
    for variable in ("CIR_PREFECT_API", "PREFECT_API_URL"):
        if text := environment.get(variable, "").strip():
            return url(Given("prefect_api", text, "environment", variable.removeprefix("CIR_")))
    return None


def parameters(flags: Sequence[str]) -> dict[str, Any]:
    """Flags as the flow's parameters; those without one of their own go along as they are, in `more`."""
    named = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--data", "--image-root", "--eval-root"):
        named.add_argument(flag, action="append")
    for flag in ("--base-model", "--out", "--seeds"):
        named.add_argument(flag)
    named.add_argument("--ablations", type=int)
    known, more = named.parse_known_args(list(flags))
    given = {name: value for name, value in vars(known).items() if value is not None}
    return given | ({"more": more} if more else {})


if __name__ == "__main__":
    sys.exit(main())
