"""The Russian guide works as it is written: each of its commands is run, with the simulator in Twilio's place."""

import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest
import pytest_asyncio

from itarent.demo.cast import checked
from itarent.project import PROJECT
from local_servers.home import home_of, scratch_home
from local_servers.ports import free_port
from testkit.terminal import Terminal, project_copied_to
from testkit.waiting import eventually
from twilio_simulator.client import SimulatorClient, connected
from twilio_simulator.faults import Fault, FaultKind
from twilio_simulator.resources import Status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

# --- the guide, word by word -----------------------------------------------------------------------------------------

# Шаг 4: Настройка .env файла
DOT_ENV: Final = """\
# WhatsApp Twilio настройки
WHATSAPP_ENABLED=true
WHATSAPP_API_URL=https://api.twilio.com/2010-04-01/Accounts/YOUR_ACCOUNT_SID/Messages.json
WHATSAPP_API_TOKEN=ваш_auth_token
WHATSAPP_PHONE_NUMBER_ID=whatsapp:+14155238886
WHATSAPP_BUSINESS_ACCOUNT_ID=ваш_account_sid
"""

# Быстрый тест через наш скрипт; Проверка системы
CHECK_TWILIO: Final = "python test_twilio_whatsapp.py"
CHECK_SYSTEM: Final = "python test_whatsapp_integration.py"

# Ручное тестирование через cURL
SEND_BY_HAND: Final = """\
curl -X POST "https://api.twilio.com/2010-04-01/Accounts/YOUR_ACCOUNT_SID/Messages.json" \\
--data-urlencode "From=whatsapp:+14155238886" \\
--data-urlencode "To=whatsapp:+393401234567" \\
--data-urlencode "Body=Тест WhatsApp от ITA_RENT_BOT!" \\
-u YOUR_ACCOUNT_SID:YOUR_AUTH_TOKEN
"""

# Запуск worker
DEBUG_WORKER: Final = "DEBUG_NOTIFICATIONS=true python run_whatsapp_worker.py"
WORKER: Final = "python run_whatsapp_worker.py"

# Запуск API сервера
DEVELOPMENT_API: Final = "python -m uvicorn src.main:app --reload"
PRODUCTION_API: Final = "python -m uvicorn src.main:app --host 0.0.0.0 --port 8000"

# Использование через API
LINK: Final = """\
curl -X POST "http://localhost:8000/api/v1/whatsapp/link" \\
  -H "Authorization: Bearer YOUR_JWT_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "phone_number": "+393401234567"
  }'
"""
TEST: Final = """\
curl -X POST "http://localhost:8000/api/v1/whatsapp/test" \\
  -H "Authorization: Bearer YOUR_JWT_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "phone_number": "+393401234567"
  }'
"""
STATUS: Final = """\
curl -X GET "http://localhost:8000/api/v1/whatsapp/status" \\
  -H "Authorization: Bearer YOUR_JWT_TOKEN"
"""

# Production настройки безопасности
PRODUCTION_DOT_ENV: Final = """\
# Добавьте в .env для production
WHATSAPP_WEBHOOK_VERIFY_TOKEN=ваш_случайный_токен_32_символа
DEBUG_NOTIFICATIONS=false
WHATSAPP_NOTIFICATION_INTERVAL_SECONDS=1800
"""

# Отладка через логи
GREP_ERRORS: Final = 'grep "ERROR" logs/whatsapp_worker.log'
TAIL_TWILIO: Final = 'tail -f logs/whatsapp_worker.log | grep "Twilio"'

# "Authenticate" error (401); Проверка подключения
ECHO_SETTINGS: Final = """\
echo $WHATSAPP_BUSINESS_ACCOUNT_ID
echo $WHATSAPP_API_TOKEN
"""
LOOK_AT_ACCOUNT: Final = """\
curl -u YOUR_ACCOUNT_SID:YOUR_AUTH_TOKEN \\
  "https://api.twilio.com/2010-04-01/Accounts/YOUR_ACCOUNT_SID.json"
"""

PHONE: Final = "+393401234567"

# --- who follows it --------------------------------------------------------------------------------------------------


@dataclass
class Reader(Terminal):
    """Somebody who follows the guide, with the environment activated."""

    twilio_port: int = field(kw_only=True)
    api_port: int = field(kw_only=True)

    @property
    def account_sid(self) -> str:
        return self.values["YOUR_ACCOUNT_SID"]

    @property
    def auth_token(self) -> str:
        return self.values["YOUR_AUTH_TOKEN"]

    async def run_curl(self, command: str) -> Any:
        """Run a `curl` of the guide; the JSON that it was answered."""
        return orjson.loads(await self.run(command.replace("curl ", "curl -sS ", 1)))


def _own_values(twilio_port: int, api_port: int) -> dict[str, str]:
    """What the guide leaves to its reader, and the simulator's and the api's addresses."""
    account_sid, auth_token = f"AC{secrets.token_hex(16)}", secrets.token_hex(16)
    return {
        "https://api.twilio.com": f"http://127.0.0.1:{twilio_port}",
        "http://localhost:8000": f"http://localhost:{api_port}",
        "YOUR_ACCOUNT_SID": account_sid,
        "ваш_account_sid": account_sid,
        "YOUR_AUTH_TOKEN": auth_token,
        "ваш_auth_token": auth_token,
        "ваш_случайный_токен_32_символа": secrets.token_hex(16),
    }


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        (scratch / "downloads").symlink_to(home_of(PROJECT) / "downloads")
        yield scratch


@pytest.fixture(scope="module")
def reader(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A folder with what the guide calls by name, and the `.env` of its step 4."""
    folder = project_copied_to(tmp_path_factory.mktemp("project"), PROJECT)
    twilio_port = free_port()
    api_port = free_port(avoid={twilio_port})
    values = _own_values(twilio_port, api_port)
    reader = Reader(folder, home, values, twilio_port=twilio_port, api_port=api_port)
    # Somebody else may have port 8000 of this machine: the last line chooses another, and links name it.
    own = f"PUBLIC_URL=http://localhost:{reader.api_port}\n"
    (folder / ".env").write_text(reader.filled_in(DOT_ENV) + own, encoding="utf-8")
    return reader


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(reader: Reader) -> AsyncIterator[AsyncExitStack]:
    """Worker and api as the guide starts them for development, a renter signed in; closed, both are ended."""
    async with AsyncExitStack() as stack:
        worker = reader.running(DEBUG_WORKER, until="Log: ", show=reader.folder / "worker.out")
        await stack.enter_async_context(worker)
        command = f"{DEVELOPMENT_API} --port {reader.api_port}"
        api = reader.running(command, until="Application startup complete", show=reader.folder / "api.out")
        await stack.enter_async_context(api)
        reader.values["YOUR_JWT_TOKEN"] = await _access_token(f"http://localhost:{reader.api_port}/api/v1")
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulator(reader: Reader, started: AsyncExitStack) -> AsyncIterator[SimulatorClient]:  # noqa: ARG001 - it runs
    """The phones."""
    async with connected(f"http://127.0.0.1:{reader.twilio_port}", reader.auth_token) as simulator:
        await simulator.join(PHONE)
        yield simulator


async def _access_token(base_url: str) -> str:
    account = {"email": "lettore@renters.example", "password": "only-for-this-test"}
    async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:
        token: str = checked(await client.post("/auth/register", json=account)).json()["access_token"]
        return token


async def _texts(simulator: SimulatorClient) -> list[str]:
    return [message.body for message in await simulator.messages() if message.to == PHONE]


# --- and what happens ------------------------------------------------------------------------------------------------


async def test_the_account_answers_to_the_guides_curl(reader: Reader, simulator: SimulatorClient) -> None:
    account = await reader.run_curl(LOOK_AT_ACCOUNT)
    assert (account["sid"], account["status"]) == (simulator.account_sid, "active")
    assert account["sid"] == reader.account_sid


async def test_a_message_is_sent_by_hand(reader: Reader, simulator: SimulatorClient) -> None:
    assert (await reader.run_curl(SEND_BY_HAND))["status"] == "queued"
    assert await _texts(simulator) == ["Тест WhatsApp от ITA_RENT_BOT!"]


async def test_the_settings_can_be_echoed_from_the_file(reader: Reader) -> None:
    assert (await reader.run(f"set -a; . ./.env; {ECHO_SETTINGS}")).split() == [reader.account_sid, reader.auth_token]


async def test_a_phone_is_linked_tested_and_looked_at(reader: Reader, simulator: SimulatorClient) -> None:
    claimed = await reader.run_curl(LINK)
    assert claimed["state"] == "pending"
    await simulator.write(PHONE, claimed["claim"]["code"])

    async def linked() -> bool:
        link: dict[str, Any] = (await reader.run_curl(STATUS))["link"]
        return (link["phone_number"], link["state"]) == (PHONE, "connected")

    await eventually(linked)
    test = await reader.run_curl(TEST)
    assert set(test) >= {"notification_id"}

    async def both_delivered() -> bool:
        """The confirmation of the link, and the test."""
        counts: dict[str, int] = (await reader.run_curl(STATUS))["counts"]
        return counts.get("delivered", 0) >= 2

    await eventually(both_delivered)


async def test_only_ones_own_proven_number_gets_a_test(reader: Reader, simulator: SimulatorClient) -> None:
    before = await _texts(simulator)
    refused = await reader.run_curl(TEST.replace(PHONE, "+393335550199"))
    assert refused["status"] == 403
    assert await _texts(simulator) == before


@pytest.mark.usefixtures("simulator")
async def test_the_check_of_twilio_passes(reader: Reader) -> None:
    printed = await reader.run(CHECK_TWILIO)
    for step in ("settings", "account", "sender", "webhook", "message", "system"):
        assert re.search(rf"^✓ {step} ", printed, re.MULTILINE), printed


@pytest.mark.usefixtures("simulator")
async def test_the_check_of_the_system_passes(reader: Reader) -> None:
    printed = await reader.run(CHECK_SYSTEM)
    for step in ("services", "topics", "consumers", "databases", "listing"):
        assert re.search(rf"^✓ {step} ", printed, re.MULTILINE), printed


@pytest.mark.usefixtures("simulator")
async def test_the_log_can_be_followed_for_twilio(reader: Reader) -> None:
    assert "Twilio" in await reader.first_lines(TAIL_TWILIO)


async def test_an_error_stands_in_the_log_as_such_and_on_the_workers_terminal(
    reader: Reader, simulator: SimulatorClient
) -> None:
    await simulator.script(Fault(FaultKind.FAIL, code=63015, status=Status.FAILED, to=PHONE))
    await reader.run_curl(TEST)

    async def found() -> str:
        """The lines that grep finds, once the refusal is among them."""
        lines = (await (await reader.start(GREP_ERRORS)).communicate())[0].decode()
        return lines if "63015" in lines else ""

    (line,) = (await eventually(found)).splitlines()
    assert "Twilio" in line
    assert PHONE not in line
    terminal = reader.folder / "worker.out"
    await eventually(lambda: line in terminal.read_text())


@pytest.mark.usefixtures("started")
async def test_an_api_for_production_serves_every_interface(reader: Reader) -> None:
    port = free_port()
    command = PRODUCTION_API.replace("8000", str(port))
    async with (
        reader.running(command, until="Application startup complete", show=reader.folder / "production.out"),
        httpx.AsyncClient(timeout=60) as client,
    ):
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == httpx.codes.OK


@pytest.mark.usefixtures("started")
async def test_a_second_worker_says_that_one_runs(reader: Reader) -> None:
    process = await reader.start(WORKER)
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 1
    assert "already runs here" in printed
    assert "Traceback" not in printed


async def test_in_production_the_worker_is_quiet_and_ends_by_ctrl_c(reader: Reader, started: AsyncExitStack) -> None:
    await started.aclose()
    with (reader.folder / ".env").open("a", encoding="utf-8") as file:
        file.write(reader.filled_in(PRODUCTION_DOT_ENV))
    async with reader.running(WORKER, until="Log: ", show=reader.folder / "quiet.out") as worker:
        assert "Mode: normal" in worker.printed
    assert worker.process.returncode == 0
    assert worker.printed.endswith("Stopping. The data is kept.\n")
    assert not re.search(r"DEBUG|INFO|Traceback", worker.printed)
