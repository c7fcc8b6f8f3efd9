"""How often something may be asked for: counters that all replicas share, in PostgreSQL."""

import datetime as dt
import hashlib
import ipaddress
import math
import time
from http import HTTPStatus
from typing import Final

import asyncpg
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter

from api.problems import Problem

REGISTRATIONS_OF_ADDRESS: Final = RateLimitItemPerHour(60, namespace="register")
SIGN_INS_OF_ADDRESS: Final = RateLimitItemPerMinute(30, namespace="sign-in-address")
SIGN_INS_OF_EMAIL_AND_ADDRESS: Final = RateLimitItemPerMinute(10, 10, namespace="sign-in")
SIGN_INS_OF_EMAIL: Final = RateLimitItemPerHour(100, namespace="sign-in-email")  # from wherever they come
REFRESHES_OF_ADDRESS: Final = RateLimitItemPerMinute(60, namespace="refresh")
PASSWORDS_OF_USER: Final = RateLimitItemPerMinute(10, 10, namespace="password")  # asked for again while signed in
EXPORTS: Final = RateLimitItemPerHour(10, namespace="export")
LINKS: Final = RateLimitItemPerHour(5, namespace="link")
PREVIEWS: Final = RateLimitItemPerMinute(30, namespace="preview")
TESTS: Final = RateLimitItemPerMinute(3, 10, namespace="test")


SUBSCRIBER_OF_IPV6: Final = 64  # bits: whoever has one address of a network has all of it


def network_of(address: str) -> str:
    """What counts as one address: an IPv4 address however it is written, or the network of an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, SUBSCRIBER_OF_IPV6), strict=False))


class RateLimits:
    """Refuses what is asked for too often."""

    def __init__(self, counters: Storage) -> None:
        self._limiter = FixedWindowRateLimiter(counters)

    async def spend(self, limit: RateLimitItem, *who: str) -> None:
        """Count one more, or raise the problem that says when to try again."""
        if await self._limiter.hit(limit, *who):
            return
        window = await self._limiter.get_window_stats(limit, *who)
        allowed = f"At most {limit.amount} of these in {limit.multiples} {limit.GRANULARITY.name}s are allowed."
        raise too_many(allowed, dt.timedelta(seconds=window.reset_time - time.time()))


def too_many(why: str, wait: dt.timedelta) -> Problem:
    """The problem that says when to try again."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"{why} Try again in {seconds} s.",
        kind="too-many-requests",
        headers={"Retry-After": str(seconds)},
    )


class PostgresCounters(Storage):
    """Counters of `limits`; keys are stored hashed, since they hold addresses of people."""

    STORAGE_SCHEME = ["itarent-postgres"]  # noqa: RUF012 - declared so by `limits`

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__()
        self._pool = pool

    @property
    def base_exceptions(self) -> type[Exception]:
        return asyncpg.PostgresError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return int(await self._pool.fetchval(_COUNT, _hashed(key), float(expiry), amount))

    async def get(self, key: str) -> int:
        return await self._pool.fetchval(_HITS, _hashed(key)) or 0

    async def get_expiry(self, key: str) -> float:
        return await self._pool.fetchval(_END, _hashed(key)) or time.time()

    async def check(self) -> bool:
        return bool(await self._pool.fetchval("SELECT true"))

    async def reset(self) -> int | None:
        return int(await self._pool.fetchval(_FORGET_ALL))

    async def clear(self, key: str) -> None:
        await self._pool.execute(_FORGET, _hashed(key))


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


_COUNT = """
INSERT INTO rate_counters AS counter (key, hits, expires_at)
VALUES ($1, $3, now() + make_interval(secs => $2))
ON CONFLICT (key) DO UPDATE SET
    hits = CASE WHEN counter.expires_at <= now() THEN 0 ELSE counter.hits END + excluded.hits,
    expires_at = CASE WHEN counter.expires_at <= now() THEN excluded.expires_at ELSE counter.expires_at END
RETURNING hits
"""

_HITS = "SELECT hits FROM rate_counters WHERE key = $1 AND expires_at > now()"

_END = "SELECT extract(epoch FROM expires_at)::float8 FROM rate_counters WHERE key = $1"

_FORGET = "DELETE FROM rate_counters WHERE key = $1"

_FORGET_ALL = "WITH forgotten AS (DELETE FROM rate_counters RETURNING 1) SELECT count(*) FROM forgotten"
