import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from local_servers.home import InUse, home_of, in_use, scratch_home
from local_servers.postgres import running_postgres

PROJECT = Path(__file__).parents[3]
RUN_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from local_servers.postgres import running_postgres
with running_postgres(Path(sys.argv[1]), downloads=Path(sys.argv[2])) as url:
    print(url, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        yield scratch


@pytest.fixture
def downloads() -> Path:
    return home_of(PROJECT) / "downloads"


def server_of(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "data" / "postmaster.pid").read_text().splitlines()[0]))


def runs(process: psutil.Process) -> bool:
    """Whether it does: what ended without a parent stays listed until the system's first process collects it."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_later_start_finds_the_data_again(home: Path, downloads: Path) -> None:
    with running_postgres(home, downloads=downloads) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'Forlì' AS city")
    with running_postgres(home, downloads=downloads) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT upper(city) FROM kept").fetchone() == ("FORLÌ",)


def test_stopping_leaves_no_process(home: Path, downloads: Path) -> None:
    with running_postgres(home, downloads=downloads, durable=False):
        server = server_of(home)
        family = [server, *server.children(recursive=True)]
    assert not any(runs(process) for process in family)


def test_what_was_committed_survives_a_kill(home: Path, downloads: Path) -> None:
    with running_postgres(home, downloads=downloads) as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
        server_of(home).kill()
    with running_postgres(home, downloads=downloads) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)


def test_the_server_ends_with_a_parent_that_was_killed_and_starts_anew(home: Path, downloads: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", RUN_UNTIL_KILLED, home, downloads], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline().startswith(b"postgresql://")
        server = server_of(home)
        parent.send_signal(signal.SIGKILL)
    with running_postgres(home, downloads=downloads):
        assert not runs(server)


def test_a_second_server_on_the_same_directory_is_refused(home: Path, downloads: Path) -> None:
    with running_postgres(home, downloads=downloads), pytest.raises(InUse), in_use(home, within_seconds=0.1):
        pytest.fail("two servers must not share a directory")


def test_others_cannot_connect_without_the_password(home: Path, downloads: Path) -> None:
    with (
        running_postgres(home, downloads=downloads) as url,
        pytest.raises(psycopg.OperationalError, match="password authentication failed"),
    ):
        psycopg.connect(url, password="guess")
