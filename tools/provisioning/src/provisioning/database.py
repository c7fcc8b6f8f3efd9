"""The services' database: a role and a schema for each, with its tables."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from common.postgres import migrate, provision


async def prepare_database(admin_url: str, passwords: Mapping[str, str]) -> None:
    """Give each service (a key of `passwords`, and the name of its package) its role, schema and tables."""
    await provision(admin_url, passwords)
    for service, password in passwords.items():
        await migrate(url_as(service, password, admin_url), service)


def url_as(role: str, password: str, url: str) -> str:
    """The same database, as another role."""
    parts = urlsplit(url)
    server = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{role}:{quote(password, safe='')}@{server}").geturl()
