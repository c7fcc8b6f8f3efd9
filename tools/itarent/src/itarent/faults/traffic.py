"""What goes on while things are broken: listings flow, and renters come, stop, pause, rest, leave and write.

Everybody behaves as people and producers do: what was not acknowledged is asked for again. What was acknowledged, and
when, is noted for the history.
"""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import httpx

from common.events import QuietHours
from itarent.audit.facts import ListingVersion
from itarent.demo.cast import bring_in, checked
from itarent.demo.flats import Market
from itarent.demo.renters import RENTERS, Renter
from itarent.environment import API
from itarent.faults.history import FOR_EVER, Acknowledged, Quiet, Spacing, Wish
from itarent.system import System
from twilio_simulator.client import SimulatorClient

AT_ONCE: Final = 10
EVERY_S: Final = 0.15
PASSWORD: Final = "only-for-the-fault-suite"  # noqa: S105 - of renters who live for a minute
PASSWORDS_AT_ONCE: Final = 6
"""Hashing them is meant to take time."""

INTERVAL_S: Final = 6
ACKNOWLEDGED_WITHIN_S: Final = 120.0
ANSWERED_WITHIN_S: Final = 4.0
RETRY_S: Final = 0.2
PASSWORD_PAUSE_S: Final = 6.0
"""Ten passwords in ten minutes are enough: who asks to be erased while that fails is to ask more seldom."""

LOOK_S: Final = 0.25
ZONES: Final = ("Europe/Rome", "America/New_York", "Asia/Tokyo", "Europe/London")
PROBES: Final = 3
PROBED_INTERVAL_S: Final = 1
CHATTER: Final = ("AIUTO", "1", "PERCHÉ 1", "SALVA 1", "NO 2", "xylofono quarantadue")
"""The last one is no command: by it texts of users are found where they must not stand."""

RENTERS_OF_A_RUN: Final = 20
BYSTANDERS: Final = 4


EndsT = TypeVar("EndsT", Acknowledged, Quiet)


class WentWrongError(Exception):
    """The system did what it must not, so that the run cannot go on: it counts as a breach of L8."""


class NeverAcknowledgedError(WentWrongError):
    """A request was repeated for two minutes, and the system never said that it has it."""


@dataclass
class Person:
    """A renter who is in the system, how to speak for them, and their own chance: they act side by side."""

    renter: Renter
    user_id: UUID
    headers: dict[str, str] = field(repr=False)
    chance: random.Random = field(repr=False)

    @property
    def phone(self) -> str:
        return self.renter.phone


@dataclass
class Noted:
    """What producers and users were told; part of the history."""

    taken: set[ListingVersion] = field(default_factory=set)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    quiet: list[Quiet] = field(default_factory=list)
    spacings: list[Spacing] = field(default_factory=list)


class Traffic:
    """The traffic of one run. A seed fixes the listings, who does what, and after how long."""

    def __init__(self, system: System, simulator: SimulatorClient, api: httpx.AsyncClient, seed: str) -> None:
        self._system = system
        self._simulator = simulator
        self._api = api
        self._seed = seed
        self._chance = random.Random(seed)  # noqa: S311 - chance that can be repeated, not a secret
        self.noted = Noted()
        self.people: list[Person] = []
        self.bystanders: list[Person] = []  # who want nothing by themselves: a family may act as them
        self._cast: Iterator[Person] = iter(())  # who acts next: nobody twice

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, system: System, simulator: SimulatorClient, seed: str) -> AsyncIterator["Traffic"]:
        limits = httpx.Limits(max_connections=30)
        async with httpx.AsyncClient(base_url=f"{system.url(API)}/api/v1", timeout=5, limits=limits) as api:
            yield cls(system, simulator, api, seed)

    # --- renters ------------------------------------------------------------------------------------------------------

    async def bring_in_renters(self) -> None:
        """Before anything breaks."""
        renters = list(renters_of(RENTERS_OF_A_RUN))
        few = asyncio.Semaphore(PASSWORDS_AT_ONCE)
        async with httpx.AsyncClient(base_url=self._api.base_url, timeout=60) as patient:

            async def come(renter: Renter) -> Person:
                async with few:
                    await bring_in(renter, PASSWORD, patient, self._simulator)
                    return await _signed_in(renter, patient, random.Random(f"{self._seed}/{renter.email}"))  # noqa: S311

            self.people = list(await asyncio.gather(*map(come, renters)))
        spaced, *others = self._chance.sample(self.people, len(self.people))
        await self.space(spaced)
        self._cast, self.bystanders = iter(others[:-BYSTANDERS]), others[-BYSTANDERS:]

    async def act(self, within_s: float) -> None:
        """Renters do what renters do, each at a moment of the seed's, and have it acknowledged."""
        deeds = (self.stop, self.pause, self.rest, self.unlink, self.erase, self.talk, self.stop_and_start)
        async with asyncio.TaskGroup() as going_on:
            for deed in deeds:
                person, after_s = next(self._cast), self._chance.uniform(0, within_s)
                going_on.create_task(self._later(after_s, deed, person))

    async def until_changes_arrive(self, within_s: float) -> None:
        """Return when what some renters change has reached the sender.

        Raises:
            WentWrongError: it did not in time.
        """
        probing = [next(self._cast) for _ in range(PROBES)]
        for person in probing:
            await self._ask("PATCH", "/me", person.headers, {"interval_seconds": PROBED_INTERVAL_S})
        users = [person.user_id for person in probing]
        deadline = asyncio.get_running_loop().time() + within_s
        connection = await asyncpg.connect(self._system.addresses.postgres)
        try:
            while await connection.fetchval(_ARRIVED, users, str(PROBED_INTERVAL_S)) < PROBES:
                if asyncio.get_running_loop().time() > deadline:
                    raise WentWrongError(f"changes do not reach the sender within {within_s:g} s")
                await asyncio.sleep(RETRY_S)
        finally:
            await connection.close()

    async def act_at_last(self) -> None:
        """The same when nothing is broken any more: it has to hold soon."""
        async with asyncio.TaskGroup() as going_on:
            for deed in (self.stop, self.pause, self.rest, self.unlink, self.erase):
                going_on.create_task(deed(next(self._cast)))

    async def take_back(self) -> None:
        """Pauses and quiet hours end, so that what they kept back can be told."""
        now = dt.datetime.now(dt.UTC)
        self.noted.quiet = [_until(each, now) for each in self.noted.quiet]
        self.noted.acknowledged = [
            _until(each, now) if each.wish is Wish.PAUSED else each for each in self.noted.acknowledged
        ]
        resting = {each.user_id for each in self.noted.quiet} | {
            each.user_id for each in self.noted.acknowledged if each.wish is Wish.PAUSED
        }
        for person in self.people:
            if person.user_id in resting:
                await self._ask("PATCH", "/me", person.headers, {"quiet_hours": None, "paused_until": None})

    async def stop(self, person: Person) -> None:
        at = await self._until_it_says(person, "STOP", lambda status: bool(status["stopped"]))
        self._note(Wish.STOPPED, person, at)

    async def stop_and_start(self, person: Person) -> None:
        await self.stop(person)
        await asyncio.sleep(person.chance.uniform(1, 5))
        started = dt.datetime.now(dt.UTC)
        self.noted.acknowledged = [
            _until(each, started) if each.user_id == person.user_id else each for each in self.noted.acknowledged
        ]
        await self._until_it_says(person, "START", lambda status: not status["stopped"])

    async def pause(self, person: Person) -> None:
        at = await self._until_it_says(person, "PAUSA 1", lambda me: bool(me["paused_until"]), path="/me")
        self._note(Wish.PAUSED, person, at)

    async def rest(self, person: Person) -> None:
        """Quiet hours that have just begun."""
        zone = person.chance.choice(ZONES)
        now = dt.datetime.now(ZoneInfo(zone))
        hour = dt.timedelta(hours=1)
        await self.rest_at(person, QuietHours(start=_clock(now - hour), end=_clock(now + 2 * hour)), zone)

    async def rest_at(self, person: Person, hours: QuietHours, zone: str) -> None:
        change = {"quiet_hours": hours.model_dump(mode="json"), "time_zone": zone}
        await self._ask("PATCH", "/me", person.headers, change)
        self.noted.quiet.append(Quiet(person.user_id, hours, zone, dt.datetime.now(dt.UTC)))

    async def space(self, person: Person) -> None:
        change = {"interval_seconds": INTERVAL_S}
        await self._ask("PATCH", "/me", person.headers, change)
        self.noted.spacings.append(Spacing(person.user_id, INTERVAL_S, dt.datetime.now(dt.UTC)))

    async def unlink(self, person: Person) -> None:
        gone = {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}  # the first try was done, and its answer was lost
        await self._ask("DELETE", "/whatsapp/link", person.headers, also=gone)
        self._note(Wish.UNLINKED, person, dt.datetime.now(dt.UTC))

    async def erase(self, person: Person) -> None:
        gone = {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}
        await self._ask("DELETE", "/me", person.headers, {"password": PASSWORD}, also=gone, pause_s=PASSWORD_PAUSE_S)
        self._note(Wish.ERASED, person, dt.datetime.now(dt.UTC))

    async def talk(self, person: Person) -> None:
        for text in CHATTER:
            await self._simulator.write(person.phone, text)
            await asyncio.sleep(person.chance.uniform(0.2, 1))

    def _note(self, wish: Wish, person: Person, at: dt.datetime) -> None:
        self.noted.acknowledged.append(Acknowledged(wish, person.user_id, person.phone, at))

    async def _until_it_says(
        self,
        person: Person,
        text: str,
        holds: Callable[[dict[str, Any]], bool],
        path: str = "/whatsapp/status",
    ) -> dt.datetime:
        """Write `text`, again after a while, until the system says that it holds; returns when it said so."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ACKNOWLEDGED_WITHIN_S
        while loop.time() < deadline:
            await self._simulator.write(person.phone, text)
            look_until = loop.time() + ANSWERED_WITHIN_S
            while loop.time() < look_until:
                said = await self._ask("GET", path, person.headers)
                if holds(said.json()):
                    return dt.datetime.now(dt.UTC)
                await asyncio.sleep(LOOK_S)
        raise NeverAcknowledgedError(f"{text} of {person.user_id}")

    async def _later(self, after_s: float, deed: Callable[[Person], Awaitable[None]], person: Person) -> None:
        await asyncio.sleep(after_s)
        await deed(person)

    # --- listings -----------------------------------------------------------------------------------------------------

    async def publish(self, market: Market, over: asyncio.Event) -> None:
        """Publish until it is over; what was not acknowledged is published again."""
        listings = (played.listing for played in market.play(dt.datetime.now(dt.UTC)) if played.listing)
        headers = {"X-Api-Key": self._system.credentials.producer_key}
        while not over.is_set():
            batch = list(itertools.islice(listings, AT_ONCE))
            body = [listing.model_dump(mode="json") for listing in batch]
            await self._ask("POST", "/listings", headers, body)
            self.noted.taken.update(ListingVersion(each.listing_id, each.version) for each in batch)
            await asyncio.sleep(EVERY_S)

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: object = None,
        *,
        also: Collection[HTTPStatus] = (),
        pause_s: float = RETRY_S,
    ) -> httpx.Response:
        """Ask until there is an answer that says that it is done; `also` are refusals that say so, too.

        Raises:
            NeverAcknowledgedError: it was never done.
            RuntimeError: it was refused for good.
        """
        deadline = asyncio.get_running_loop().time() + ACKNOWLEDGED_WITHIN_S
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._api.request(method, path, headers=headers, json=body)
                if answer.is_success or answer.status_code in also:
                    return answer
                if answer.is_client_error and answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                    return checked(answer)
            await asyncio.sleep(pause_s)
        raise NeverAcknowledgedError(f"{method} {path}")


def renters_of(count: int) -> Iterator[Renter]:
    """The renters of the demonstration over and over, each time with other phones."""
    for number, renter in zip(range(count), itertools.cycle(RENTERS), strict=False):
        yield dataclasses.replace(renter, email=f"{number}@renters.example", phone=f"+3933355502{number:02}")


async def _signed_in(renter: Renter, api: httpx.AsyncClient, chance: random.Random) -> Person:
    account = {"email": renter.email, "password": PASSWORD}
    token = checked(await api.post("/auth/token", json=account)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    me = checked(await api.get("/me", headers=headers)).json()
    return Person(renter, UUID(me["user_id"]), headers, chance)


def _clock(moment: dt.datetime) -> dt.time:
    return moment.time().replace(second=0, microsecond=0)


def _until(each: EndsT, moment: dt.datetime) -> EndsT:
    """The same, taken back at a moment if it still held."""
    return dataclasses.replace(each, until=moment) if each.until == FOR_EVER else each


_ARRIVED = """
SELECT count(*) FROM sender.recipients
 WHERE user_id = ANY($1::uuid[]) AND recipient::jsonb ->> 'interval_seconds' = $2
"""
