"""The announcement of a running system: whole, private, and believed only while its process lives."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from itarent.environment import SERVICES, SIMULATOR
from itarent.local import FILE, Local, alone_in, announced, running_in
from local_servers.home import write_secret

PORTS = {SIMULATOR: 4010, "api": 8000, "matcher": 8001, "sender": 8002, "status-webhook": 8003}


def a_local(home: Path, *, runs: frozenset[str] = frozenset({*SERVICES, SIMULATOR})) -> Local:
    return Local(
        home=home,
        kafka="127.0.0.1:9092",
        postgres="postgresql://postgres:admin@127.0.0.1:5432/itarent",
        namespace="itarent",
        ports=PORTS,
        runs=runs,
    )


def test_a_running_system_is_found_as_it_was_announced_and_by_its_user_alone(tmp_path: Path) -> None:
    local = a_local(tmp_path)
    with alone_in(tmp_path), announced(local):
        assert running_in(tmp_path) == local
        assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert running_in(tmp_path) is None


def test_the_announcement_of_a_system_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    killed = [sys.executable, "-c", HOLD_AND_DIE, str(tmp_path)]
    assert subprocess.run(killed, env=dict(os.environ), check=False).returncode == -9
    write_secret(tmp_path / FILE, a_local(tmp_path).model_dump_json())
    assert running_in(tmp_path) is None
    with alone_in(tmp_path):
        assert running_in(tmp_path) is not None


HOLD_AND_DIE = """
import os, signal, sys
from pathlib import Path
from itarent.local import alone_in
with alone_in(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_twilio_is_simulated_where_the_simulator_runs(tmp_path: Path) -> None:
    assert a_local(tmp_path).twilio_is_simulated
    assert not a_local(tmp_path, runs=frozenset(SERVICES)).twilio_is_simulated
    assert a_local(tmp_path).api_url == "http://127.0.0.1:8000"
