"""`make ui`: a Prefect server on port 4200 over the runs' own database, until Ctrl-C."""

from __future__ import annotations

import sys

from annotate.errors import CirError, UsageError
from annotate.locks import hold_lock
from annotate.teacher.probe import answers_health
from annotate.text import plain
from flows.prefect_api import HOME, UI_LOCK, UI_PORT, own_server


def main() -> int:
    """Serve until Ctrl-C; exit status 0, or that of the error."""
    address = f"http://127.0.0.1:{UI_PORT}"
    try:
        if answers_health(f"{address}/api"):
            raise UsageError(
                f"a Prefect server answers at {address} already; open it in a browser, or end it"
            )
        with hold_lock(HOME / UI_LOCK, HOME), own_server(HOME, UI_PORT) as server:
            print(
                f"Prefect UI: {address} - `make annotate` in another terminal reports here; Ctrl-C stops it"
            )
            server.process.wait()
            print(f"the Prefect server has ended, see {server.log}", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        return 0
    except CirError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
