"""The audit of a real matcher and a real ledger, on a real Kafka and PostgreSQL."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from typer.testing import CliRunner, Result

from common.events import AdvertisementParted, ListingPublished, NotificationRequested, SubscriptionSaved
from common.kafka import Publisher, Received, decode
from common.links import Links
from common.listing import Listing, ListingStatus, Position, Signal
from common.postgres import open_pool
from common.search import Commute, Criterion, Range, UnknownPolicy
from common.topics import Topics
from itarent.audit import repeated
from itarent.cli import app
from local_servers.ports import free_port
from matcher.commutes import ways_wanted_by
from matcher.engines import EngineKind
from matcher.main import matching
from matcher.settings import Settings
from sender.intake import Intake, Taken
from sender.plan import Policy
from testkit.factories import NOW, make_listing, make_search, make_subscription, monthly
from testkit.records import records_of
from testkit.servers import Database
from testkit.waiting import PATIENCE_S, eventually

ELSEWHERE = {"listing_id": "idealista.it:1", "source": "idealista.it"}
RENTERS = [UUID(int=number) for number in range(1, 6)]
POLICY = Policy(
    enabled=True,
    interval=timedelta(),
    intervals_off=False,
    links=Links("https://bot.example", "a-signing-key-of-tests"),
)


class System:
    """A matcher that runs, a ledger that is filled when asked to, and the audit as a command."""

    def __init__(
        self, kafka: str, topics: Topics, database: Database, publisher: Publisher, settings: Settings
    ) -> None:
        self.settings = settings
        self._kafka = kafka
        self._topics = topics
        self._database = database
        self._publisher = publisher

    async def publish(self, *events: ListingPublished | SubscriptionSaved | AdvertisementParted) -> None:
        topics = {
            ListingPublished: self._topics.listings,
            SubscriptionSaved: self._topics.subscriptions,
            AdvertisementParted: self._topics.partings,
        }
        for event in events:
            await self._publisher.publish(topics[type(event)], [event])

    async def until_effective(self, versions: int) -> None:
        """Wait until so many versions have taken effect."""

        async def effective() -> bool:
            return await self.execute("SELECT count(*) = $1 FROM matcher.versions", versions)

        await eventually(effective)

    async def fill_ledger(self) -> None:
        """Take every notification in, as the sender does."""
        records = await records_of(self._kafka, self._topics.notifications)
        types: dict[str, type[Taken]] = {NotificationRequested.type: NotificationRequested}
        received = [each for each in (decode(record, types) for record in records) if isinstance(each, Received)]
        async with open_pool(self._database.url("sender"), "sender", size=1) as pool:
            await Intake(pool, self._topics, POLICY).take(received)
        await self._commit_as_sender()

    async def _commit_as_sender(self) -> None:
        async with AIOKafkaConsumer(
            bootstrap_servers=self._kafka, group_id=self._topics.group("sender"), enable_auto_commit=False
        ) as consumer:
            name = self._topics.notifications.name
            partitions = [TopicPartition(name, number) for number in range(self._topics.notifications.partitions)]
            consumer.assign(partitions)
            await consumer.commit(dict(await consumer.end_offsets(partitions)))

    async def execute(self, statement: str, *arguments: object) -> bool:
        connection = await asyncpg.connect(self._database.admin_url)
        try:
            return bool(await connection.fetchval(statement, *arguments))
        finally:
            await connection.close()

    @contextlib.asynccontextmanager
    async def auditor(self) -> AsyncIterator[str]:
        """The address of an audit that is repeated; it is told to stop after the body, and must do so in order."""
        port = free_port()
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self._kafka,
            "KAFKA_NAMESPACE": self._namespace,
            "AUDIT_DATABASE_URL": self._database.url("audit"),
            "HTTP_PORT": str(port),
        }
        command = (sys.executable, "-m", "itarent", "audit", "--every", "6")
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        try:
            yield f"http://127.0.0.1:{port}"
            process.terminate()
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @property
    def _namespace(self) -> str:
        return self._topics.listings.name.removesuffix(".listings.v1")

    async def audit(self) -> Result:
        where = ["--bootstrap-servers", self._kafka, "--database-url", self._database.url("audit")]
        command = ["audit", "--json", "--namespace", self._namespace, *where]
        return await asyncio.to_thread(CliRunner().invoke, app, command)  # it has an event loop of its own


@pytest.fixture
def settings(kafka: str, topics: Topics, database: Database) -> Settings:
    return Settings(
        kafka_bootstrap_servers=kafka,
        kafka_namespace=topics.listings.name.removesuffix(".listings.v1"),
        database_url=database.url("matcher"),
        http_port=0,
    )


@pytest.fixture
async def system(kafka: str, topics: Topics, database: Database, settings: Settings) -> AsyncIterator[System]:
    """Four renters look for a flat, a fifth for another; it appears twice, becomes cheaper, and one portal drops it."""
    async with Publisher.connected(kafka, "test") as publisher:
        system = System(kafka, topics, database, publisher, settings)
        for renter in RENTERS:
            changes = {"search": make_search(rooms=Range(minimum=9))} if renter == RENTERS[-1] else {}
            saved = make_subscription(subscription_id=renter, user_id=renter, **changes)
            await system.publish(SubscriptionSaved(subscription=saved))
        async with matching(settings):
            for number, listing in enumerate(_listings(), start=1):
                await system.publish(ListingPublished(listing=listing))
                await system.until_effective(number)
        yield system


def _listings() -> list[Listing]:
    return [
        make_listing(),
        make_listing(**ELSEWHERE),
        make_listing(version=2, rent=monthly(900)),
        make_listing(version=3, status=ListingStatus.WITHDRAWN),
    ]


async def test_a_match_is_pending_until_the_sender_has_read_it_and_then_in_one_disposition(system: System) -> None:
    before = await system.audit()
    assert before.exit_code == 0, before.output
    assert json.loads(before.stdout) == {
        "listing_versions": 4,
        "matches": 12,
        "by_disposition": {"already_known": 4},
        "pending": 8,
        "unaccounted": 0,
        "unexpected": 0,
        "unfinished": {},
    }
    await system.fill_ledger()
    after = await system.audit()
    assert after.exit_code == 0, after.output
    assert json.loads(after.stdout) == json.loads(before.stdout) | {
        "by_disposition": {"already_known": 4, "waiting": 8},
        "pending": 0,
    }
    await system.execute("UPDATE sender.messages SET due_at = opened_at - interval '9 days'")
    await system.execute("UPDATE sender.messages SET latest_at = due_at")
    stuck = await system.audit()
    assert stuck.exit_code == 1
    assert json.loads(stuck.stdout)["unfinished"] == {"undecided": 4}
    assert "4 messages were to go out at the latest, and are neither sent nor given up" in stuck.stderr


async def test_every_forgery_is_found(system: System) -> None:
    await system.fill_ledger()
    for number, (forgery, found, complaint) in enumerate(FORGERIES):
        await system.execute(forgery, RENTERS[number])
        result = await system.audit()
        assert result.exit_code == 1
        balance = json.loads(result.stdout)
        assert (balance["unaccounted"], balance["unexpected"]) == found
        assert complaint in result.stderr


async def test_a_repeated_audit_tells_what_does_not_balance_and_when_it_could_last_tell(system: System) -> None:
    await system.fill_ledger()
    await system.execute("DELETE FROM sender.notifications WHERE user_id = $1 AND reason = 'new'", RENTERS[0])
    await system.execute("UPDATE sender.messages SET due_at = opened_at - interval '9 days'")
    await system.execute("UPDATE sender.messages SET latest_at = due_at WHERE user_id = $1", RENTERS[1])
    async with system.auditor() as url, aiohttp.ClientSession() as session:

        async def told() -> dict[str, float]:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with session.get(f"{url}/metrics/") as answer:
                    lines = [line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if line[0] != "#"]
                    told = {name: float(value) for name, value in lines if name.startswith("itarent_audit")}
                    return told if told["itarent_audit_finished_timestamp_seconds"] else {}
            return {}

        found = await eventually(told, within_seconds=60)
    assert found.pop("itarent_audit_finished_timestamp_seconds") == pytest.approx(time.time(), abs=60)
    assert found == {
        "itarent_audit_matches": 12,
        'itarent_audit_findings{kind="unaccounted"}': 1,
        'itarent_audit_findings{kind="unexpected"}': 0,
        'itarent_audit_findings{kind="unfinished"}': 1,
    }


async def test_a_repeated_audit_that_cannot_read_the_system_or_takes_too_long_tells_nothing() -> None:
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "AUDIT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    assert await repeated._balance(timedelta(minutes=1), nowhere) is None
    assert await repeated._balance(timedelta(milliseconds=1), nowhere) is None


async def test_each_shard_accounts_for_its_users_who_are_followed_through_a_change_of_shards(system: System) -> None:
    one, two = (system.settings.model_copy(update={"matcher_shards": 2, "matcher_shard": number}) for number in (1, 2))
    async with matching(one), matching(two):
        await system.publish(ListingPublished(listing=make_listing(listing_id="casa.it:2", agency={}, area_m2=71)))
        await system.until_effective(4 + 2)
    await system.fill_ledger()
    result = await system.audit()
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "listing_versions": 5,
        "matches": 16,
        "by_disposition": {"already_known": 4, "waiting": 12},
        "pending": 0,
        "unaccounted": 0,
        "unexpected": 0,
        "unfinished": {},
    }
    await system.execute("DELETE FROM matcher.versions WHERE (shard, shards) = (2, 2)")
    forged = json.loads((await system.audit()).stdout)
    assert (forged["unaccounted"], forged["unexpected"]) == (1, 2), "of the four renters two are of the second shard"


async def test_a_flat_that_is_parted_balances_before_and_after(system: System, settings: Settings) -> None:
    """It was told as one flat; the other portal's one is parted from it, and both go on by themselves."""
    await system.fill_ledger()
    parted = AdvertisementParted(listing_id="idealista.it:1", apart_from=(make_listing().listing_id,), parted_at=NOW)
    late = make_subscription(subscription_id=UUID(int=9), user_id=UUID(int=9))
    async with matching(settings):
        await system.publish(SubscriptionSaved(subscription=late), parted)
        await eventually(lambda: system.execute("SELECT count(*) = 1 FROM matcher.partings_told"))
        await system.publish(
            ListingPublished(listing=make_listing(version=4)),
            ListingPublished(listing=make_listing(version=2, **ELSEWHERE, rent=monthly(700))),
        )
        await system.until_effective(6)
    await system.fill_ledger()
    result = await system.audit()
    assert result.exit_code == 0, result.output
    new, returned, dropped = 5, 5, 5
    assert json.loads(result.stdout)["by_disposition"] == {
        "already_known": 4,
        "waiting": 8 + new + returned + dropped,
    }
    await system.execute("DELETE FROM sender.notifications WHERE user_id = $1", RENTERS[0])
    assert json.loads((await system.audit()).stdout)["unaccounted"] == 5
    await system.execute("DELETE FROM matcher.partings_told")
    assert json.loads((await system.audit()).stdout)["unexpected"] > 0


FORGERIES = [  # each adds to what the ones before it have done
    ("DELETE FROM sender.notifications WHERE user_id = $1 AND reason = 'new'", (1, 0), "not in the ledger"),
    (
        "UPDATE sender.notifications SET disposition = 'in_message' WHERE user_id = $1 AND reason = 'new'",
        (1, 1),
        "do not bear out",
    ),
    (
        "UPDATE sender.notifications SET notification_id = $1 WHERE user_id = $1 AND reason = 'price_drop'",
        (2, 2),
        "no version and no search justify it",
    ),
    ("DELETE FROM matcher.versions WHERE version = 2 AND $1::uuid IS NOT NULL", (2, 5), "never took effect"),
]


async def test_what_was_found_out_when_a_flat_was_matched_is_what_the_audit_goes_by(
    kafka: str, topics: Topics, database: Database
) -> None:
    """The engine is away: one way is remembered, the other is unknown. What it says later changes nothing."""
    near = Commute(to=Position(latitude=45.4642, longitude=9.19), minutes=20)
    unknown = Commute(to=Position(latitude=45.5, longitude=9.2), minutes=20)
    searches = [
        make_search(commutes=(near,)),
        make_search(commutes=(near.model_copy(update={"minutes": 10}),)),
        make_search(commutes=(unknown,)),
        make_search(commutes=(unknown,)).under(Criterion.COMMUTE, UnknownPolicy.FAIL),
        make_search(signals_unwanted={Signal.SCAM_SIGNS}),
    ]
    settings = Settings(
        kafka_bootstrap_servers=kafka,
        kafka_namespace=topics.listings.name.removesuffix(".listings.v1"),
        database_url=database.url("matcher"),
        http_port=0,
        commute_engine=EngineKind.VALHALLA,
        commute_url="http://127.0.0.1:9",
    )
    scam = make_listing(description="Sono all'estero. Paghi con Western Union e spedirò le chiavi.")
    async with Publisher.connected(kafka, "test") as publisher:
        system = System(kafka, topics, database, publisher, settings)
        for renter, search in zip(RENTERS, searches, strict=True):
            saved = make_subscription(subscription_id=renter, user_id=renter, search=search)
            await system.publish(SubscriptionSaved(subscription=saved))
        async with matching(settings):
            await system.execute(_TELL_WAY, *ways_wanted_by(scam, searches[:1]).pop(), 900)
            await system.publish(ListingPublished(listing=scam))
            await system.until_effective(1)
    await system.execute(_TELL_WAY, *ways_wanted_by(scam, searches[2:3]).pop(), 3000)
    await system.fill_ledger()
    audited = await system.audit()
    assert audited.exit_code == 0, audited.output
    assert json.loads(audited.stdout)["by_disposition"] == {"waiting": 2}


_TELL_WAY = "INSERT INTO matcher.ways (start, destination, mode, seconds) VALUES ($1, $2, $3, $4)"


def test_a_system_that_cannot_be_reached_cannot_be_audited() -> None:
    nowhere = ["--bootstrap-servers", "127.0.0.1:1", "--database-url", "postgresql://nobody@127.0.0.1:1/none"]
    assert CliRunner().invoke(app, ["audit", *nowhere]).exit_code == 2
    assert CliRunner().invoke(app, ["audit"], env={"AUDIT_DATABASE_URL": ""}).exit_code == 2
