"""An empty database and a cluster without topics, provisioned."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from provisioning.database import admit_auditor, prepare_database, url_as
from provisioning.main import provision
from provisioning.settings import Settings
from testkit.servers import PASSWORD


@pytest.fixture
async def settings(kafka: str, postgres: str) -> AsyncIterator[Settings]:
    name = f"empty_{uuid.uuid4().hex[:8]}"
    await _execute(postgres, f'CREATE DATABASE "{name}"')
    settings = Settings(
        kafka_bootstrap_servers=kafka,
        kafka_namespace=name,
        postgres_admin_url=f"{postgres.rpartition('/')[0]}/{name}",
        api_database_password=PASSWORD,
        matcher_database_password=PASSWORD,
        sender_database_password=PASSWORD,
        audit_database_password=PASSWORD,
    )
    yield settings
    await _execute(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_everything_that_services_need_is_made_once_however_often_it_is_asked_for(settings: Settings) -> None:
    await provision(settings)
    await provision(settings)
    connection = await asyncpg.connect(settings.postgres_admin_url.get_secret_value())
    tables = await connection.fetch("SELECT DISTINCT schemaname, tableowner FROM pg_tables ORDER BY schemaname")
    await connection.close()
    assert [tuple(table) for table in tables if table["schemaname"] in settings.passwords] == [
        ("api", "api"),
        ("matcher", "matcher"),
        ("sender", "sender"),
    ]
    assert await _topics_of(settings) == {topic.name for topic in settings.topics.all()}


async def test_the_auditor_reads_no_phone_and_no_text_and_writes_nothing(settings: Settings) -> None:
    await prepare_database(settings.postgres_admin_url.get_secret_value(), settings.passwords)
    await admit_auditor(settings.postgres_admin_url.get_secret_value(), PASSWORD)
    auditor = await asyncpg.connect(url_as("audit", PASSWORD, settings.postgres_admin_url.get_secret_value()))
    try:
        assert await auditor.fetchval("SELECT count(disposition) FROM sender.notifications") == 0
        for refused in (
            "SELECT recipient FROM sender.recipients",
            "SELECT body FROM sender.attempts",
            "SELECT opted_out_phone FROM sender.contacts",
            "SELECT event FROM sender.notifications",
            "SELECT * FROM api.accounts",
            "BEGIN READ WRITE; DELETE FROM sender.outbox",
            "CREATE TABLE sender.mine (one int)",
        ):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
                await auditor.execute(refused)
            await auditor.execute("ROLLBACK") if refused.startswith("BEGIN") else None
    finally:
        await auditor.close()


async def _topics_of(settings: Settings) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        names: list[str] = await admin.list_topics()
        made = {name for name in names if name.startswith(f"{settings.kafka_namespace}.")}
        await admin.delete_topics(list(made))
    finally:
        await admin.close()
    return made


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()
