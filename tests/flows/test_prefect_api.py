"""Which Prefect server a run reports to, and that Prefect can be imported under what make exports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from annotate.errors import UsageError
from annotate.locks import hold_lock
from annotate.teacher.probe import answers_health
from bench.driving import fault_server
from flows.prefect_api import UI_LOCK, own_server, prefect_api, ui_runs

USES_PREFECT = """
import sys
from pathlib import Path
from flows.prefect_api import prefect_api
with prefect_api(sys.argv[1], Path(sys.argv[2])):
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        client.read_flows(limit=1)
"""


def test_only_a_server_that_make_ui_started_here_is_taken_for_ours(tmp_path: Path) -> None:
    assert not ui_runs(tmp_path) and not list(tmp_path.iterdir()), "looking writes nothing"
    with hold_lock(tmp_path / UI_LOCK):
        assert ui_runs(tmp_path)
    assert not ui_runs(tmp_path)


def test_a_given_server_is_used_under_our_own_name_and_one_that_refuses_the_key_says_so_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:sesame")
    environment = dict(os.environ)  # prefect_api changes it
    try:
        with own_server(tmp_path / "server") as server:
            url = server.url
            with (
                pytest.raises(
                    UsageError,
                    match=r"wants a key; set Prefect's own PREFECT_API_AUTH_STRING \(.* PREFECT_API_KEY\)",
                ),
                prefect_api(url, tmp_path / "client"),
            ):
                pass
            os.environ["PREFECT_API_AUTH_STRING"] = "me:simsim"
            with (
                pytest.raises(
                    UsageError, match=r"does not take the key; mend PREFECT_API_AUTH_STRING"
                ) as refused,
                prefect_api(url, tmp_path / "client"),
            ):
                pass
            assert "simsim" not in str(refused.value)
            done = subprocess.run(
                [sys.executable, "-c", USES_PREFECT, url, str(tmp_path / "client")],
                env={**environment, "PREFECT_API": url, "PREFECT_API_AUTH_STRING": "me:sesame"},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
    finally:
        os.environ.clear()
        os.environ.update(environment)


def test_a_given_server_is_looked_for_by_way_of_the_proxy_that_prefect_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with fault_server() as proxy:  # answers /health of any host
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        assert answers_health("http://prefect.invalid:4200", proxied=True)
        assert not answers_health("http://prefect.invalid:4200")


@pytest.mark.slow
def test_two_servers_start_over_one_new_database_each_with_its_own_log(tmp_path: Path) -> None:
    def start() -> tuple[str, Path]:
        with own_server(tmp_path) as server:
            time.sleep(3)
            assert answers_health(server.url) and server.log.exists()
            return server.url, server.log

    with ThreadPoolExecutor(2) as pool:
        (one, its), (other, others) = (each.result() for each in [pool.submit(start) for _ in range(2)])
    assert one != other and its != others
    assert not its.exists() and not others.exists()
