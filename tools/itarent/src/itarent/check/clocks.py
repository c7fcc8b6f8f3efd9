"""Whether everybody's clock says the same: signatures, tokens and quiet hours rest on it."""

import asyncio
import datetime as dt
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import asyncpg
import httpx
from aiokafka import AIOKafkaProducer

from common.kafka import create_topics
from common.topics import Topic
from itarent.check.kafka import administrator
from itarent.check.report import OUTAGES, Finding, described, failed, ok, skipped
from itarent.check.where import Where

MOST_APART: Final = dt.timedelta(seconds=2)
ANSWER_WITHIN_S: Final = 10.0


@dataclass(frozen=True)
class Skew:
    """How far a clock is ahead of this machine's, and how exactly that can be told."""

    ahead: dt.timedelta
    give_or_take: dt.timedelta

    @property
    def too_large(self) -> bool:
        """Certainly, whatever the way there and back took."""
        return abs(self.ahead) - self.give_or_take > MOST_APART


@dataclass(frozen=True)
class Clock:
    """A clock of somebody else; `exact_to` is the step in which it tells the time."""

    name: str
    read: Callable[[], Awaitable[dt.datetime]]
    exact_to: dt.timedelta = dt.timedelta()


async def clocks(where: Where) -> list[Finding]:
    """A finding for each clock that can be asked."""
    return [await _compared(clock) for clock in _clocks(where)]


def _clocks(where: Where) -> list[Clock]:
    database = next(iter(where.databases.values()), "")
    to_a_second = dt.timedelta(seconds=1)
    return [
        *([Clock("Kafka", lambda: _of_kafka(where))] if where.kafka else []),
        *([Clock("PostgreSQL", lambda: _of_postgres(database))] if database else []),
        *([Clock("Twilio", lambda: _of_web_server(where.twilio), to_a_second)] if where.twilio else []),
    ]


async def _compared(clock: Clock) -> Finding:
    try:
        skew = await skew_of(clock)
    except (*OUTAGES, ValueError) as error:
        return skipped(f"{clock.name}'s clock cannot be asked: {described(error)}")
    seconds = skew.ahead.total_seconds()
    if skew.too_large:
        return failed(
            f"{clock.name}'s clock is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this machine's",
            "Let both be set by NTP (`timedatectl set-ntp true`): signatures, tokens and quiet hours rest on it.",
        )
    return ok(f"{clock.name}'s clock agrees within {max(abs(seconds), skew.give_or_take.total_seconds()):.1f} s")


async def skew_of(clock: Clock) -> Skew:
    """Compare it with the moment between the question and the answer."""
    began = time.monotonic()
    asked_at = dt.datetime.now(dt.UTC)
    told = await clock.read()
    took = dt.timedelta(seconds=time.monotonic() - began)
    return Skew(told + clock.exact_to / 2 - (asked_at + took / 2), (took + clock.exact_to) / 2)


async def _of_postgres(url: str) -> dt.datetime:
    connection = await asyncpg.connect(url, timeout=ANSWER_WITHIN_S)
    try:
        told: dt.datetime = await connection.fetchval("SELECT clock_timestamp()")
    finally:
        await connection.close()
    return told


async def _of_web_server(base_url: str) -> dt.datetime:
    """The Date of any answer, which needs no credentials."""
    async with httpx.AsyncClient(timeout=ANSWER_WITHIN_S) as http:
        return parsedate_to_datetime((await http.get(base_url)).headers.get("date", ""))


async def _of_kafka(where: Where) -> dt.datetime:
    """The time at which a broker appends a record: to a topic that lives for this question alone."""
    name = f"{where.namespace}.check-clock-{uuid.uuid4().hex}"
    asked = _Asked(name, "", (), "delete", dt.timedelta(hours=1), partitions=1, owner="itarent")
    await create_topics(where.kafka, [asked])
    try:
        async with AIOKafkaProducer(bootstrap_servers=where.kafka) as producer, asyncio.timeout(ANSWER_WITHIN_S):
            appended = await producer.send_and_wait(name, b"")
        return dt.datetime.fromtimestamp(appended.timestamp / 1000, dt.UTC)
    finally:
        async with administrator(where.kafka) as admin:
            await admin.delete_topics([name])


class _Asked(Topic):
    """A topic whose records have the broker's time."""

    @property
    def config(self) -> dict[str, str]:
        return super().config | {"message.timestamp.type": "LogAppendTime"}
