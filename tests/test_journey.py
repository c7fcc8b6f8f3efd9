"""The whole system as a renter, a producer and an operator meet it: over HTTP, and on the phone."""

import datetime as dt
import hashlib
import itertools
import os
import re
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import orjson
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from api.consents import Consents
from api.dead_letters import DeadLetters
from api.erasure import Erasure
from api.security import Pseudonyms
from common.kafka import Encoded, Publisher
from common.listing import Listing, ListingStatus
from common.outbox import Outbox
from common.postgres import open_pool
from itarent.backlog import drain
from itarent.demo.cast import bring_in, checked
from itarent.demo.renters import Renter as Cast
from itarent.environment import API, SENDER, SIMULATOR
from itarent.project import PROJECT
from itarent.system import ANY_PORTS, System, running_system
from local_servers.home import home_of, scratch_home
from testkit.compaction import compact_at_once
from testkit.factories import make_listing, monthly
from testkit.records import records_of
from testkit.waiting import eventually
from twilio_simulator.client import SimulatorClient, connected

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "only-for-this-test"
AT_ONCE = {
    SENDER: {"WHATSAPP_NOTIFICATION_INTERVAL_SECONDS": "0"},
    SIMULATOR: {"STATUS_PACE_SECONDS": "0.05"},
}
ROMA, BOLOGNA, TORINO, NAPOLI = "058091", "037006", "001272", "063049"
MILANO, FIRENZE = "015146", "048017"
NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True)
class Renter:
    """A renter who is signed in, and whose phone is proven."""

    phone: str
    api: httpx.AsyncClient
    simulator: SimulatorClient = field(repr=False)

    async def texts(self) -> list[str]:
        """What has arrived on the phone, in order."""
        return [message.body for message in await self.simulator.messages() if message.to == self.phone]

    async def texts_about(self, flat: Listing) -> list[str]:
        return [text for text in await self.texts() if flat.title in text]

    async def is_told(self, flat: Listing, times: int = 1) -> str:
        """Wait until so many texts have told of the flat; the last one."""

        async def told() -> list[str]:
            texts = await self.texts_about(flat)
            return texts if len(texts) >= times else []

        texts = await eventually(told)
        assert len(texts) == times
        return texts[-1]

    async def is_answered(self, text: str) -> None:
        """Wait until a message with this text has arrived."""

        async def arrived() -> bool:
            return any(text in each for each in await self.texts())

        await eventually(arrived)

    async def write(self, text: str) -> None:
        await self.simulator.write(self.phone, text)

    async def change(self, **profile: object) -> None:
        checked(await self.api.patch("/me", json=profile))

    async def activity(self, flat: Listing) -> list[dict[str, Any]]:
        """What the renter's history says of the flat, newest first."""
        items = checked(await self.api.get("/activity")).json()["items"]
        return [item for item in items if item["listing"]["listing_id"] == flat.listing_id]

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = checked(await self.api.get("/whatsapp/status")).json()
        return status


@dataclass(frozen=True)
class Stage:
    """The running system, and those who act on it."""

    system: System
    producer: httpx.AsyncClient
    simulator: SimulatorClient

    @asynccontextmanager
    async def renter(self, comune: str, **profile: object) -> AsyncIterator[Renter]:
        """A renter who looks for up to 1,200 € in a comune, and wants to know everything."""
        number = next(NUMBERS)
        search = {"places": [{"kind": "comune", "code": comune}], "rent": {"maximum_cents": 1200_00}}
        alerts = ["new", "price_drop", "withdrawn"]
        cast = Cast(
            name=f"Renter {number}",
            email=f"{number}@renters.example",
            phone=f"+3933355503{number:02}",
            language="it",
            searches=({"name": "Vicino al lavoro", "alerts": alerts, "search": search},),
        )
        async with httpx.AsyncClient(base_url=self.producer.base_url, timeout=30) as api:
            await bring_in(cast, PASSWORD, api, self.simulator)
            account = {"email": cast.email, "password": PASSWORD}
            token = checked(await api.post("/auth/token", json=account)).json()["access_token"]
            api.headers["Authorization"] = f"Bearer {token}"
            renter = Renter(cast.phone, api, self.simulator)
            await renter.is_answered("Numero collegato")
            await renter.change(**profile)
            await self.settled()
            yield renter

    async def publish(self, *flats: Listing) -> None:
        listings = [flat.model_dump(mode="json", exclude_none=True) for flat in flats]
        checked(await self.producer.post("/listings", json=listings))

    async def settled(self) -> None:
        """Wait until nothing is under way: what has not happened now will not."""
        await drain(self.system, within_seconds=60)


def a_flat(comune: str = MILANO, **changes: object) -> Listing:
    """A flat like no other, which the renters of its comune look for."""
    number = next(NUMBERS)
    mine: dict[str, object] = {
        "listing_id": f"immobiliare.it:{number}",
        "url": f"https://www.immobiliare.it/annunci/{number}/",
        "title": f"Bilocale luminoso numero {number:03}",
        "comune": comune,
        "agency": {"name": "Immobiliare Abruzzi", "reference": f"AB-48-{number}"},
    }
    return make_listing(**mine | changes)


@asynccontextmanager
async def on_stage(system: System) -> AsyncIterator[Stage]:
    headers = {"X-Api-Key": system.credentials.producer_key}
    async with (
        httpx.AsyncClient(base_url=f"{system.url(API)}/api/v1", headers=headers, timeout=30) as producer,
        connected(system.url(SIMULATOR), system.credentials.auth_token) as simulator,
    ):
        yield Stage(system, producer, simulator)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        yield scratch


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(home: Path) -> AsyncIterator[System]:
    async with running_system(home, ports=ANY_PORTS, overrides=AT_ONCE, durable=False) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(system: System) -> AsyncIterator[Stage]:
    async with on_stage(system) as stage:
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def giulia(stage: Stage) -> AsyncIterator[Renter]:
    """A renter in Milano whom nothing holds back."""
    async with stage.renter(MILANO) as renter:
        yield renter


async def test_a_listing_becomes_one_text_with_its_title_and_link_and_is_seen_to_be_delivered(
    stage: Stage, giulia: Renter
) -> None:
    flat = a_flat()
    await stage.publish(flat)
    text = await giulia.is_told(flat)
    assert str(flat.url) in text
    assert "Vicino al lavoro" in text

    async def is_delivered() -> bool:
        items, status = await giulia.activity(flat), await giulia.status()
        assert len(items) == 1, "the api hears of it a moment later than the phone"
        (item,) = items
        assert item["disposition"] == "in_message"
        assert item["message"]["status"] == "delivered"
        assert status["messages"][0]["message_id"] == item["message"]["message_id"]
        return bool(status["messages"][0]["status"] == "delivered")

    await eventually(is_delivered)


async def test_a_listing_published_again_or_on_a_second_portal_is_not_told_again(stage: Stage, giulia: Renter) -> None:
    flat = a_flat()
    elsewhere = flat.model_copy(
        update={"listing_id": flat.listing_id.replace("immobiliare", "casa"), "source": "casa.it"}
    )
    await stage.publish(flat)
    await giulia.is_told(flat)
    await stage.publish(flat, elsewhere)
    await stage.settled()
    assert len(await giulia.texts_about(flat)) == 1


async def test_a_price_drop_is_told_once_and_says_what_it_was_before(stage: Stage, giulia: Renter) -> None:
    flat = a_flat(rent=monthly(1150))
    cheaper = flat.model_copy(update={"version": 2, "rent": monthly(990)})
    await stage.publish(flat)
    await giulia.is_told(flat)
    await stage.publish(cheaper)
    text = await giulia.is_told(flat, times=2)
    assert "990 €" in text
    assert "↓ era 1.150" in text
    await stage.publish(cheaper)
    await stage.settled()
    assert len(await giulia.texts_about(flat)) == 2


async def test_a_withdrawn_flat_is_told_to_who_asked_for_it(stage: Stage, giulia: Renter) -> None:
    flat = a_flat()
    await stage.publish(flat)
    await giulia.is_told(flat)
    await stage.publish(flat.model_copy(update={"version": 2, "status": ListingStatus.WITHDRAWN}))
    assert "non più disponibile" in await giulia.is_told(flat, times=2)


async def test_what_the_search_does_not_want_is_not_told(stage: Stage, giulia: Renter) -> None:
    too_dear, elsewhere = a_flat(rent=monthly(1300)), a_flat(ROMA)
    await stage.publish(too_dear, elsewhere)
    await stage.settled()
    assert await giulia.texts_about(too_dear) == await giulia.texts_about(elsewhere) == []


async def test_a_broken_record_becomes_one_dead_letter_and_the_next_listing_arrives(
    stage: Stage, giulia: Renter
) -> None:
    flat, topic, kafka = a_flat(), stage.system.topics.listings, stage.system.addresses.kafka
    before = len(await records_of(kafka, topic.dead_letters))
    async with Publisher.connected(kafka, "test") as publisher:  # the same key: the listing is behind it
        await publisher.publish_encoded([Encoded(topic.name, flat.listing_id, b"{not json", {})])
    await stage.publish(flat)
    await giulia.is_told(flat)
    await stage.settled()
    letters = (await records_of(kafka, topic.dead_letters))[before:]
    assert [letter.value for letter in letters] == [b"{not json"]


async def test_flats_that_come_within_the_interval_are_one_digest(stage: Stage) -> None:
    async with stage.renter(BOLOGNA, interval_seconds=5) as renter:
        first, second, third = (a_flat(BOLOGNA) for _ in range(3))
        await stage.publish(first)
        await renter.is_told(first)
        await stage.publish(second, third)
        digest = await renter.is_told(second)
        assert third.title in digest
        assert first.title not in digest


async def test_quiet_hours_hold_a_message_back_until_their_end(stage: Stage) -> None:
    now = dt.datetime.now(ZoneInfo("Europe/Rome")).replace(second=0, microsecond=0)
    start, end = now - dt.timedelta(hours=2), now + dt.timedelta(hours=2)
    quiet_hours = {"start": start.time().isoformat(), "end": end.time().isoformat()}
    async with stage.renter(TORINO, quiet_hours=quiet_hours) as renter:
        flat = a_flat(TORINO)
        await stage.publish(flat)
        assert await eventually(lambda: _in_ledger(stage.system, flat)) == ("waiting", "waiting", end)
        (item,) = await eventually(lambda: renter.activity(flat))
        assert item["disposition"] == "waiting"
        assert await renter.texts_about(flat) == []

        await renter.change(quiet_hours=None)
        await renter.is_told(flat)


async def test_stop_from_the_phone_ends_everything_until_start(stage: Stage) -> None:
    async with stage.renter(NAPOLI) as renter:
        await renter.write("Stop")
        await renter.is_answered("START")
        await stage.settled()
        unwanted, wanted = a_flat(NAPOLI), a_flat(NAPOLI)
        await stage.publish(unwanted)
        await stage.settled()
        (item,) = await eventually(lambda: renter.activity(unwanted))
        assert (item["disposition"], item["detail"]) == ("suppressed", "stopped")
        assert (await renter.status())["stopped"] is True

        await renter.write("Start")
        await renter.is_answered("di nuovo attivi")
        await stage.publish(wanted)
        await renter.is_told(wanted)
        assert await renter.texts_about(unwanted) == []


async def test_what_a_renter_answers_is_understood_and_answered(stage: Stage) -> None:
    async with stage.renter(FIRENZE) as renter:
        flat = a_flat(FIRENZE)
        await stage.publish(flat)
        await renter.is_told(flat)
        await stage.settled()
        for wrote, answered in (
            ("1", "Rispondi SALVA 1, NO 1 o PERCHÉ 1."),
            ("perché 1", "✓ Canone: 1.100 € / mese + 120 € spese (cercavi: fino a 1.200 €)"),
            ("NO 1", "Non ti scriverò più di"),
            ("meno", "al massimo un messaggio in 1 ora"),
            ("pausa 3", "In pausa fino a"),
            ("start", "di nuovo attivi"),
            ("Buongiorno, sono Anna", "Sono un programma, ma capisco:"),
            ("Salva 1", "I tuoi annunci salvati: "),
        ):
            await renter.write(wrote)
            await renter.is_answered(answered)
        (kept,) = checked(await renter.api.get("/saved")).json()["items"]
        assert (kept["listing"]["listing_id"], kept["offered"]) == (flat.listing_id, True)
        await stage.settled()
        await stage.publish(flat.model_copy(update={"version": 2, "rent": monthly(990)}))
        (drop, _) = await eventually(lambda: _two(renter, flat))
        assert (drop["reason"], drop["disposition"], drop["detail"]) == ("price_drop", "suppressed", "declined")


async def _two(renter: Renter, flat: Listing) -> list[dict[str, Any]]:
    """The flat's two entries in the history, once the newest has ended."""
    items = await renter.activity(flat)
    assert len(items) == 2
    assert items[0]["disposition"] != "waiting"
    return items


async def test_a_test_message_goes_to_the_own_number_only(giulia: Renter) -> None:
    refused = await giulia.api.post("/whatsapp/test", json={"phone_number": "+393335550399"})
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:itarent:problem:not-your-number"
    checked(await giulia.api.post("/whatsapp/test", json={"phone_number": giulia.phone}))
    await giulia.is_answered("Messaggio di prova")
    messages = await giulia.simulator.messages()
    assert {message.to for message in messages if "Messaggio di prova" in message.body} == {giulia.phone}


async def test_the_link_in_a_message_opens_a_page_with_its_flats(stage: Stage, giulia: Renter) -> None:
    flat = a_flat()
    await stage.publish(flat)
    link = _link_in(await giulia.is_told(flat))

    async def page() -> str:
        async with httpx.AsyncClient(timeout=30) as anybody:
            answer = await anybody.get(link)
            assert answer.status_code == 200
            return answer.text

    shown = await eventually(page)
    assert flat.title in shown
    assert str(flat.url) in shown
    async with httpx.AsyncClient(timeout=30) as anybody:
        assert (await anybody.get(f"{link}x")).status_code == 404


@pytest.mark.asyncio(loop_scope="function")  # as the browser's
async def test_an_operator_sees_a_message_and_its_whole_story(system: System, browser: Browser) -> None:
    page = await browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.goto(f"{system.url(API)}/watch?key={system.credentials.operator_key}")

    flat = a_flat(ROMA)
    async with on_stage(system) as stage, stage.renter(ROMA):
        await stage.publish(flat)
        message = page.locator("#messages button", has_text=flat.title)
        await expect(message).to_contain_text("delivered")
    await message.click()
    story = page.locator("#story")
    for part in ("Listing published", "matched “Vicino al lavoro”", "called back: delivered"):
        await expect(story).to_contain_text(part)
    # As queued, or as what a callback has said of it before the answer was recorded.
    await expect(story).to_contain_text(re.compile("The sender: (queued|sending|sent|delivered)"))
    assert said == []


async def test_an_erased_renter_is_found_in_no_table_no_topic_and_no_log(stage: Stage) -> None:
    async with stage.renter(TORINO) as renter:
        kept = await _live_a_life(stage, renter)
        assert set(await _tables_with(stage.system, kept.marks)) >= {"api", "sender"}
        checked(await renter.api.request("DELETE", "/me", json={"password": PASSWORD}))
        await stage.settled()
    assert await _tables_with(stage.system, kept.marks | kept.ids) == {}
    assert await _in_ledger_of(stage.system, kept.user_id) == {"in_message", "suppressed"}

    topics = stage.system.topics
    holding = {topics.recipients.name, topics.inbound_messages.name, topics.inbound_messages.dead_letters.name}
    assert (await _topics_with(stage.system, kept.marks)).keys() >= holding, "nothing is compacted yet"
    compacted = [topic for topic in topics.all() if "compact" in topic.cleanup and topic is not topics.listings]
    await compact_at_once(stage.system.addresses.kafka, compacted)
    await _repeat_tombstones(stage.system)

    async def gone() -> bool:
        left = await _topics_with(stage.system, kept.marks | kept.ids)
        # What was told is kept for 30 days, under ids that say nothing any more, and with the name of the search.
        assert not left.pop(topics.notifications.name, set()) & kept.marks
        assert left == {}
        return True

    await eventually(gone, within_seconds=60)
    logs = "".join(log.read_text(errors="replace") for log in _logs(stage.system.home))
    assert {mark for mark in kept.marks if mark in logs} == set()


@dataclass(frozen=True)
class _Kept:
    """What is known of a renter: texts that identify, and ids that would lead to them."""

    user_id: UUID
    marks: set[str]
    ids: set[str]


async def _live_a_life(stage: Stage, renter: Renter) -> _Kept:
    """Searches, messages both ways, flats that were told and some that wait, a test, a dead letter, failed sign-ins."""
    name, wrote = "Vicino a zia Carmela", "Mi piace il balcone di via Po"
    me = checked(await renter.api.get("/me")).json()
    (search,) = checked(await renter.api.get("/subscriptions")).json()["items"]
    checked(await renter.api.patch(f"/subscriptions/{search['subscription_id']}", json={"name": name}))
    await stage.settled()
    told, waits = a_flat(TORINO), a_flat(TORINO)
    await stage.publish(told)
    text = await renter.is_told(told)
    await renter.write(wrote)
    checked(await renter.api.post("/whatsapp/test", json={}))
    sender_hash = hashlib.sha256(renter.phone.encode()).hexdigest()
    async with Publisher.connected(stage.system.addresses.kafka, "test") as publisher:
        broken = f'{{"sender": "{renter.phone}", "body": "{wrote}"'.encode()
        await publisher.publish_encoded([Encoded(stage.system.topics.inbound_messages.name, sender_hash, broken, {})])
    await renter.api.post("/auth/token", json={"email": me["email"], "password": "a guess"})
    await renter.change(interval_seconds=86_400)
    await stage.settled()
    await stage.publish(waits)
    await eventually(lambda: _in_ledger(stage.system, waits))
    marks = {me["email"], renter.phone.removeprefix("+"), renter.phone.removeprefix("+39"), sender_hash, wrote}
    lines = {line for line in text.splitlines() if name in line}
    return _Kept(UUID(me["user_id"]), marks | lines, {name, search["subscription_id"]})


async def _tables_with(system: System, marks: set[str]) -> dict[str, set[str]]:
    """Of every table of every schema: which of the texts occur in it, by schema."""
    found: dict[str, set[str]] = {}
    connection = await asyncpg.connect(system.addresses.postgres)
    try:
        for schema, table in await connection.fetch(_TABLES):
            query = f'SELECT string_agg(held::text, chr(10)) FROM "{schema}"."{table}" AS held'  # noqa: S608 - a catalogue's names
            rows = await connection.fetchval(query) or ""
            if held := {mark for mark in marks if mark in rows and table != "repeated_tombstones"}:
                found.setdefault(schema, set()).update(held)
    finally:
        await connection.close()
    return found


async def _topics_with(system: System, marks: set[str]) -> dict[str, set[str]]:
    """Which of the texts occur in what each topic holds; a tombstone's key is what it deletes."""
    found = {}
    for topic in system.topics.all():
        records = [each for each in await records_of(system.addresses.kafka, topic) if each.value is not None]
        whole = b"\n".join(
            b" ".join([each.key or b"", each.value or b"", *(v for _, v in each.headers)]) for each in records
        )
        if held := {mark for mark in marks if mark.encode() in whole}:
            found[topic.name] = held
    return found


async def _in_ledger_of(system: System, user_id: UUID) -> set[str]:
    connection = await asyncpg.connect(system.addresses.postgres)
    try:
        rows = await connection.fetch("SELECT disposition FROM sender.notifications WHERE user_id = $1", user_id)
    finally:
        await connection.close()
    return {row["disposition"] for row in rows}


async def _repeat_tombstones(system: System) -> None:
    """What the api does by itself when the time has come."""
    async with open_pool(system.database_url(API), "test") as pool:
        pseudonyms = Pseudonyms(system.credentials.link_signing_key)
        erasure = Erasure(
            pool,
            Outbox(API),
            system.topics,
            Consents(pool, pseudonyms),
            pseudonyms=pseudonyms,
            dead_letters=DeadLetters(system.addresses.kafka, system.topics),
        )
        await erasure.keep_erased(dt.datetime.now(dt.UTC) + dt.timedelta(days=32))


_TABLES = """
SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('api', 'matcher', 'sender') ORDER BY 1, 2
"""


async def test_the_audit_balances(stage: Stage, giulia: Renter) -> None:
    flat = a_flat()
    await stage.publish(flat)
    await giulia.is_told(flat)
    await stage.settled()
    status, report = await _audit(stage.system)
    assert (status, report["unaccounted"], report["unexpected"]) == (0, 0, 0), report
    assert report["matches"] == sum(report["by_disposition"].values()) > 0


async def test_logs_hold_no_phone_no_secret_and_no_text(stage: Stage, giulia: Renter) -> None:
    flat, code = a_flat(), "Sono io, la Giulia di via Abruzzi"
    await stage.publish(flat)
    await giulia.is_told(flat)
    await giulia.write(code)
    await stage.settled()
    messages = await stage.simulator.messages()
    phones = {message.to.removeprefix("+") for message in messages}
    texts = {line for message in messages for line in message.body.splitlines() if line}
    secrets = {*stage.system.credentials.model_dump().values()} - {stage.system.credentials.account_sid}
    logs = {log: log.read_text(errors="replace") for log in _logs(stage.system.home)}
    found = {
        (str(log.relative_to(stage.system.home)), secret)
        for log, written in logs.items()
        for secret in phones | texts | secrets | {PASSWORD, code}
        if secret in written
    }
    assert found == set()
    assert {"api.log", "kafka.log", "postgres.log", "sender.log"} <= {log.name for log in logs}


def _logs(home: Path) -> Iterator[Path]:
    """What the processes write for people; Kafka calls its data logs as well."""
    return (log for log in home.rglob("*.log") if "data" not in log.relative_to(home).parts)


def _link_in(text: str) -> str:
    found = re.search(r"https?://\S+/m/\S+", text)
    assert found
    return found.group()


async def _in_ledger(system: System, flat: Listing) -> tuple[str, str, dt.datetime] | None:
    """The flat's disposition, its message's stage, and when that is due."""
    connection = await asyncpg.connect(system.addresses.postgres)
    try:
        row = await connection.fetchrow(_DUE, flat.listing_id)
    finally:
        await connection.close()
    return tuple(row) if row else None


async def _audit(system: System) -> tuple[int | None, dict[str, Any]]:
    """The exit status of `itarent audit --json`, and what it prints."""
    env = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": system.addresses.kafka,
        "AUDIT_DATABASE_URL": system.addresses.postgres,
    }
    itarent = Path(sys.executable).with_name("itarent")
    process = await create_subprocess_exec(itarent, "audit", "--json", stdout=PIPE, env=env)
    printed, _ = await process.communicate()
    return process.returncode, orjson.loads(printed)


_DUE = """
SELECT notification.disposition, message.stage, message.due_at
FROM sender.notifications AS notification JOIN sender.messages AS message USING (message_id)
WHERE listing_id = $1
"""
