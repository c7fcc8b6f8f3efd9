"""PostgreSQL: does each service's role get in, and does it find the tables of this version?"""

from collections.abc import Iterable

import asyncpg

from common.postgres import migrations_of
from itarent.check.report import OUTAGES, Finding, described, failed, ok, skipped, warning
from itarent.check.where import ROLES, Where

ANSWER_WITHIN_S = 10.0


async def databases(where: Where) -> list[Finding]:
    """A finding or more for each role."""
    return [finding for role in ROLES for finding in await _database(role, where.databases.get(role, ""))]


async def _database(role: str, url: str) -> Iterable[Finding]:
    if not url:
        name = f"{role.upper()}_DATABASE_URL"
        return [skipped(f"{role}: {name} is not given", f"{name}=postgresql://{role}:password@host:5432/itarent")]
    try:
        applied = await _applied(url)
    except OUTAGES as error:
        cure = f"Does PostgreSQL run, and does the role exist with this password? {role}'s DATABASE_URL says where."
        return [failed(f"{role}: the database does not let it in: {described(error)}", cure)]
    return _compared(role, applied, migrations_of(role))


async def _applied(url: str) -> list[str]:
    """The migrations that the role's schema has seen."""
    connection = await asyncpg.connect(url, timeout=ANSWER_WITHIN_S)
    try:
        if await connection.fetchval("SELECT to_regclass('migrations')") is None:
            return []
        return [row["name"] for row in await connection.fetch("SELECT name FROM migrations")]
    finally:
        await connection.close()


def _compared(role: str, applied: list[str], known: list[str]) -> list[Finding]:
    if missing := sorted(set(known) - set(applied)):
        return [failed(f"{role}: not applied: {', '.join(missing)}", f"Start {role}: it migrates its database itself.")]
    if newer := sorted(set(applied) - set(known)):
        return [warning(f"{role}: newer than this version: {', '.join(newer)}", "Deploy one version of all.")]
    return [ok(f"{role}: {len(known)} migrations are applied")]
