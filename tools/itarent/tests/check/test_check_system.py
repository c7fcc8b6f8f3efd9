"""`itarent check system` against a whole running system: all is well; then one thing after another is broken."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka.admin import NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from typer.testing import CliRunner, Result

from common.events import DirectMessageRequested, DirectPurpose
from common.kafka import Publisher
from itarent.check.kafka import administrator
from itarent.cli import app
from itarent.environment import SENDER, SIMULATOR
from itarent.project import PROJECT
from itarent.system import ANY_PORTS, System, running_system
from local_servers.home import home_of, scratch_home
from testkit.records import records_of
from twilio_simulator.client import connected

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK = {SIMULATOR: {"STATUS_PACE_SECONDS": "0.02"}}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        yield scratch


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(home: Path) -> AsyncIterator[System]:
    async with running_system(home, ports=ANY_PORTS, durable=False, overrides=QUICK) as system:
        yield system


class Checked:
    """What the command said and how it ended."""

    def __init__(self, result: Result) -> None:
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        self.status = result.exit_code
        self._report: dict[str, Any] = json.loads(result.stdout)
        assert self._report["ok"] == (self.status == 0)

    def findings(self, step: str, state: str) -> list[dict[str, str]]:
        [found] = [each for each in self._report["steps"] if each["name"] == step]
        return [finding for finding in found["findings"] if finding["state"] == state]

    def failure(self, step: str) -> dict[str, str]:
        """The one failure of a step."""
        [failure] = self.findings(step, "failed")
        return failure

    @property
    def failed(self) -> list[str]:
        return [each["name"] for each in self._report["steps"] if each["state"] == "failed"]


async def invoke(home: Path, *options: str, what: str = "system") -> Result:
    runner = CliRunner(env={"ITARENT_HOME": str(home), "KAFKA_BOOTSTRAP_SERVERS": None})
    return await asyncio.to_thread(runner.invoke, app, ["check", what, *options])


async def check(system: System, *options: str) -> Checked:
    return Checked(await invoke(system.home, "--json", *options))


async def test_a_system_that_works_is_told_so_and_a_listing_reaches_a_phone(system: System) -> None:
    checked = await check(system)
    assert (checked.status, checked.failed) == (0, [])
    assert len(checked.findings("services", "ok")) == 4
    assert len(checked.findings("consumers", "ok")) == 3
    assert len(checked.findings("databases", "ok")) == 3
    assert len(checked.findings("clocks", "ok")) == 3
    [arrived] = checked.findings("listing", "ok")
    assert "delivered" in arrived["says"]


async def test_the_probe_leaves_no_renter_search_listing_or_phone_behind(system: System) -> None:
    await check(system)
    for topic in (system.topics.subscriptions, system.topics.recipients, system.topics.listings):
        last = {record.key: record.value for record in await records_of(system.addresses.kafka, topic)}
        assert last
        assert not any(last.values()), topic.name
    async with administrator(system.addresses.kafka) as admin:
        assert not [name for name in await admin.list_topics() if "check-clock" in name]
    async with connected(system.url(SIMULATOR), system.credentials.auth_token) as simulator:
        assert await simulator.messages() == []


async def test_it_reads_well_at_a_terminal(system: System) -> None:
    result = await invoke(system.home)
    assert result.exit_code == 0
    assert "✓ services" in result.stdout
    assert result.stdout.rstrip().endswith("Everything works.")


async def test_twilio_as_the_running_system_uses_it_works_up_to_a_message_that_the_system_sends(system: System) -> None:
    checked = Checked(await invoke(system.home, "--json", what="twilio"))
    assert (checked.status, checked.failed) == (0, [])
    for step in ("settings", "account", "sender", "webhook", "message", "system"):
        assert len(checked.findings(step, "ok")) == 1, step
    [sent] = checked.findings("system", "ok")
    assert "delivered" in sent["says"]


async def test_a_topic_that_is_missing_is_named_and_created_when_that_is_asked_for(system: System) -> None:
    missing = system.topics.subscriptions.dead_letters.name
    async with administrator(system.addresses.kafka) as admin:
        await admin.delete_topics([missing])
    checked = await check(system)
    assert checked.failed == ["topics"]
    assert missing in checked.failure("topics")["says"]
    assert "--fix" in checked.failure("topics")["cure"]
    await check(system, "--fix")
    assert (await check(system)).failed == []


async def test_a_topic_that_is_not_as_it_should_be_is_named_with_the_command_that_mends_it(system: System) -> None:
    widened, kept = system.topics.listings.dead_letters, system.topics.recipients.dead_letters
    async with administrator(system.addresses.kafka) as admin:
        await admin.create_partitions({widened.name: NewPartitions(2)})
        wrong = {**kept.config, "retention.ms": "1000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, kept.name, wrong)])
    narrow, forgetful = (await check(system)).findings("topics", "failed")
    assert f"{widened.name} has 2 partitions instead of 1" in narrow["says"]
    assert f"--delete --topic {widened.name}" in narrow["cure"]
    assert f"{kept.name} has retention.ms=1000" in forgetful["says"]
    assert f"--add-config 'retention.ms={kept.config['retention.ms']}'" in forgetful["cure"]


async def test_a_migration_that_is_not_applied_is_named(system: System) -> None:
    connection = await asyncpg.connect(system.addresses.postgres)
    try:
        await connection.execute("DELETE FROM matcher.migrations")
    finally:
        await connection.close()
    failure = (await check(system)).failure("databases")
    assert failure["says"].startswith("matcher: not applied: 0001_")


async def test_a_service_that_is_gone_is_named_and_no_listing_is_sent(system: System) -> None:
    await system.services[SENDER].stop()
    waiting = DirectMessageRequested(
        notification_id=uuid4(), user_id=uuid4(), purpose=DirectPurpose.TEST, requested_at=datetime.now(UTC)
    )
    async with Publisher.connected(system.addresses.kafka, "tests") as publisher:
        await publisher.publish(system.topics.notifications, [waiting])
    before = await records_of(system.addresses.kafka, system.topics.subscriptions)
    checked = await check(system)
    failure = checked.failure("services")
    assert failure["says"].startswith("sender at ")
    assert "sender.log" in failure["cure"]
    behind = checked.failure("consumers")["says"]
    assert behind.startswith(system.topics.group("sender"))
    assert "1 records wait" in behind
    [skipped] = checked.findings("listing", "skipped")
    assert "services" in skipped["says"]
    after = await records_of(system.addresses.kafka, system.topics.subscriptions)
    assert len(after) == len(before)


async def test_without_a_system_it_says_how_to_name_one(tmp_path: Path) -> None:
    result = await invoke(tmp_path)
    assert result.exit_code == 2
    assert "itarent up" in result.stderr


async def test_a_kafka_that_does_not_answer_is_told_in_every_step_that_needs_it(tmp_path: Path) -> None:
    result = await invoke(tmp_path, "--json", "--bootstrap-servers", "127.0.0.1:1")
    checked = Checked(result)
    assert checked.status == 1
    assert "127.0.0.1:1" in checked.failure("topics")["cure"]
