"""`python -m provisioning`: once before the services start; can be repeated."""

import asyncio

import structlog

from common.kafka import create_topics
from common.settings import load
from common.telemetry import configure_logging
from provisioning.database import admit_auditor, prepare_database
from provisioning.settings import Settings

log = structlog.get_logger(__name__)


def main() -> None:
    settings = load(Settings)
    configure_logging("provisioning", "INFO")
    asyncio.run(provision(settings))


async def provision(settings: Settings) -> None:
    admin_url = settings.postgres_admin_url.get_secret_value()
    await prepare_database(admin_url, settings.passwords)
    if settings.audit_database_password:
        await admit_auditor(admin_url, settings.audit_database_password.get_secret_value())
    log.info("the database is as the services want it", roles=list(settings.passwords))
    await create_topics(settings.kafka_bootstrap_servers, settings.topics)
    log.info("the topics exist", topics=[topic.name for topic in settings.topics.all()])
