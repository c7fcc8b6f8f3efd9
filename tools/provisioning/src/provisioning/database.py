"""The services' database: a role and a schema for each, with its tables."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import asyncpg

from common.postgres import create_role, migrate, provision

AUDITOR: Final = "audit"
"""The role of the audit."""


async def prepare_database(admin_url: str, passwords: Mapping[str, str]) -> None:
    """Give each service (a key of `passwords`, and the name of its package) its role, schema and tables."""
    await provision(admin_url, passwords)
    for service, password in passwords.items():
        await migrate(url_as(service, password, admin_url), service)


async def admit_auditor(admin_url: str, password: str) -> None:
    """Make a role that reads what the audit reads and writes nothing: no phone and no text is among it."""
    connection = await asyncpg.connect(admin_url)
    try:
        await create_role(connection, AUDITOR, password)
        await connection.execute(_ADMIT_AUDITOR)
    finally:
        await connection.close()


_ADMIT_AUDITOR = """
ALTER ROLE audit SET default_transaction_read_only = on;
GRANT USAGE ON SCHEMA matcher, sender TO audit;
GRANT SELECT ON matcher.layout, matcher.versions, matcher.appraisals, matcher.partings, matcher.partings_told TO audit;
GRANT SELECT ON sender.messages, sender.channel, sender.outbox TO audit;
GRANT SELECT (user_id, erased_at) ON sender.contacts TO audit;
GRANT SELECT (
    notification_id, user_id, flat_id, reason, listing_id, version, disposition, message_id, received_at, settled_at
) ON sender.notifications TO audit;
"""


def url_as(role: str, password: str, url: str) -> str:
    """The same database, as another role."""
    parts = urlsplit(url)
    server = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{role}:{quote(password, safe='')}@{server}").geturl()
