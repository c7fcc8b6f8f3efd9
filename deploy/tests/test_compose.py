"""`docker compose up` in a clean clone: slow, and needs a Docker engine. `make check-deploy` runs it."""

import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest

from common.listing import Listing
from itarent.demo.cast import bring_in, checked
from itarent.demo.renters import Renter
from itarent.project import PROJECT
from local_servers.ports import free_ports
from testkit.factories import make_listing
from testkit.waiting import eventually
from twilio_simulator.client import AcceptedMessage, SimulatorClient, connected

GIT = shutil.which("git") or "git"
DOCKER = shutil.which("docker") or "docker"
PORTS = ("KAFKA_PORT", "POSTGRES_PORT", "API_PORT", "WEBHOOK_PORT", "SIMULATOR_PORT", "AUDITOR_PORT")
NUMBERS = itertools.count(1)
GIULIA = Renter(
    name="Giulia",
    email="giulia@compose.example",
    phone="+393335550107",
    language="it",
    searches=(
        {
            "name": "Bilocale a Milano",
            "alerts": ["new"],
            "search": {"places": [{"kind": "comune", "code": "015146"}], "rent": {"maximum_cents": 1200_00}},
        },
    ),
)


@dataclass(frozen=True)
class Compose:
    """A clone of the project, and `docker compose` in it with ports that nobody else has."""

    clone: Path
    env: dict[str, str]

    def __call__(self, *arguments: str) -> str:
        done = self.attempt(*arguments)
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def attempt(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """The same, whether it succeeds or not, with changes of the environment."""
        command = [DOCKER, "compose", *arguments]
        env = self.env | changes
        return subprocess.run(command, cwd=self.clone, env=env, capture_output=True, text=True, check=False)

    def up(self) -> None:
        self("up", "--detach", "--wait", "--wait-timeout", "300")

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.env[port]}"

    def local(self, name: str) -> str:
        """What deploy/local.env holds."""
        lines = (self.clone / "deploy" / "local.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if not line.startswith("#"))[name]


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    clone = tmp_path_factory.mktemp("clean") / "clone"
    subprocess.run([GIT, "clone", "--quiet", PROJECT, clone], check=True)
    ports = {name: str(port) for name, port in free_ports(dict.fromkeys(PORTS, 0)).items()}
    project = {"COMPOSE_PROJECT_NAME": f"itarent-check-{os.getpid()}", "VERSION": "check"}
    compose = Compose(clone, {**os.environ, **ports, **project})
    # One after the other: some engines confuse several builds from one folder.
    for service in ("provisioning", "api", "matcher", "sender", "status-webhook", "twilio-simulator"):
        compose("build", service)
    try:
        compose.up()
        yield compose
    finally:
        compose("--profile", "*", "down", "--volumes", "--timeout", "30")


@dataclass(frozen=True)
class Phone:
    """A renter's phone, and a producer who publishes flats that the renter looks for."""

    producer: httpx.AsyncClient
    simulator: SimulatorClient

    async def publish(self) -> Listing:
        number = next(NUMBERS)
        flat = make_listing(
            listing_id=f"immobiliare.it:{number}",
            url=f"https://www.immobiliare.it/annunci/{number}/",
            title=f"Bilocale luminoso numero {number:03}",
            agency={"name": "Immobiliare Abruzzi", "reference": f"AB-{number}"},
        )
        checked(await self.producer.post("/listings", json=flat.model_dump(mode="json", exclude_none=True)))
        return flat

    async def shows(self, flat: Listing) -> AcceptedMessage:
        """The delivered message that tells of the flat, which is told once."""

        async def delivered() -> AcceptedMessage | None:
            messages = [each for each in await self.simulator.messages() if flat.title in each.body]
            assert len(messages) == 1, messages
            (message,) = messages
            return message if message.status == "delivered" else None

        return await eventually(delivered, within_seconds=150)


@asynccontextmanager
async def phone_of(renter: Renter, compose: Compose) -> AsyncIterator[Phone]:
    headers = {"X-Api-Key": compose.local("PRODUCER_KEY")}
    base_url = f"{compose.url('API_PORT')}/api/v1"
    async with (
        httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30) as producer,
        connected(compose.url("SIMULATOR_PORT"), compose.local("WHATSAPP_API_TOKEN")) as simulator,
    ):
        await bring_in(renter, compose.local("RENTERS_PASSWORD"), producer, simulator)
        yield Phone(producer, simulator)


@pytest.mark.timeout(1800)  # images are built
async def test_a_clean_clone_comes_up_and_a_listing_becomes_a_delivered_message(compose: Compose) -> None:
    async with phone_of(GIULIA, compose) as phone:
        message = await phone.shows(await phone.publish())
        assert message.to == GIULIA.phone


@pytest.mark.timeout(300)
def test_the_matcher_uses_what_was_compiled_into_its_image(compose: Compose) -> None:
    """A matcher that had to compile anything would have kept it beside what it was given."""
    shipped, used = "/opt/members/compiled", "/tmp/compiled"  # noqa: S108 - in its container
    files = compose("exec", "--no-TTY", "matcher", "find", shipped, "-name", "*.nbc").splitlines()
    assert files
    assert compose("exec", "--no-TTY", "matcher", "diff", "--recursive", shipped, used) == ""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "service", ["matcher", "sender", "status-webhook", "twilio-simulator", "api", "postgres", "kafka"]
)
async def test_a_listing_is_told_once_although_a_service_is_killed_meanwhile(compose: Compose, service: str) -> None:
    async with phone_of(GIULIA, compose) as phone:
        before = await phone.publish()
        compose("kill", service)
        compose.up()
        after = await phone.publish()
        await phone.shows(before)
        await phone.shows(after)


@pytest.mark.timeout(600)
async def test_an_audit_in_a_container_finds_that_every_match_is_accounted_for(compose: Compose) -> None:
    compose("build", "itarent")
    async with phone_of(GIULIA, compose) as phone:
        await phone.shows(await phone.publish())
    balance = orjson.loads(compose("run", "--rm", "--no-TTY", "itarent", "audit", "--json"))
    assert balance["matches"] > 0
    assert balance["pending"] == balance["unaccounted"] == balance["unexpected"] == 0
    compose("--profile", "audit", "up", "--detach", "--wait", "auditor")
    async with httpx.AsyncClient(base_url=compose.url("AUDITOR_PORT")) as auditor:

        async def told() -> list[str]:
            lines = (await auditor.get("/metrics/")).text.splitlines()
            return [line for line in lines if line.startswith("itarent_audit_findings{")]

        findings = await eventually(told, within_seconds=60)
    assert {line.rsplit(" ", 1)[1] for line in findings} == {"0.0"}, "what a role that may read little finds"


@pytest.mark.timeout(600)
async def test_the_demonstration_brings_renters_who_get_messages(compose: Compose) -> None:
    compose("build", "demo")
    compose("--profile", "demo", "up", "--detach", "demo")
    async with connected(compose.url("SIMULATOR_PORT"), compose.local("WHATSAPP_API_TOKEN")) as simulator:

        async def told() -> bool:
            messages = await simulator.messages()
            return any("€" in each.body and each.to != GIULIA.phone for each in messages)

        await eventually(told, within_seconds=180)


@pytest.mark.timeout(300)
def test_it_stops_in_order(compose: Compose) -> None:
    compose("--profile", "*", "stop")
    containers = [orjson.loads(line) for line in compose("ps", "--all", "--format", "json").splitlines()]
    ended = {each["Service"]: each["ExitCode"] for each in containers}
    # A JVM that is told to stop by SIGTERM says so (143); 137 would be a SIGKILL after the grace period.
    assert {service: code for service, code in ended.items() if code not in {0, 143}} == {}, ended
    assert ended["sender"] == ended["api"] == ended["matcher"] == ended["status-webhook"] == 0


def test_an_account_at_twilio_without_secrets_of_its_own_is_refused(compose: Compose) -> None:
    url = "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json"
    refused = compose.attempt("config", "--quiet", WHATSAPP_API_URL=url)
    assert refused.returncode != 0
    for name in ("WHATSAPP_API_TOKEN", "JWT_SECRET", "POSTGRES_PASSWORD"):
        assert f"required variable {name} is missing" in refused.stderr
