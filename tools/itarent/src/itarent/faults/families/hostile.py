"""Hostile HTTP against the api and the status webhook, while both have their usual work to do."""

import asyncio
import contextlib
import datetime as dt
import itertools
import random
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import httpx

from common.listing import Agency, Listing
from itarent.demo.cast import checked
from itarent.demo.flats import Market
from itarent.environment import API, WEBHOOK
from itarent.faults.attacks import (
    INJECTIONS,
    PROBLEM,
    Attack,
    Raw,
    Victim,
    against_the_rules,
    on_the_api,
    on_the_webhook,
    slow_beginnings,
)
from itarent.faults.scene import Family, Scene
from itarent.system import System

AT_ONCE: Final = 4
SLOW_CONNECTIONS: Final = 60
SLOW_EVERY_S: Final = 1.0
ANSWERED_WITHIN_S: Final = 20.0
LAW: Final = "hostile HTTP"
"""What breaches are filed under that no numbered law is about."""

ATTACKER_PASSWORD: Final = "only-the-attacker-knows-this"  # noqa: S105 - that it is logged nowhere is what we look for
NO_REQUEST: Final = "Invalid HTTP request received."
"""What the server in front of the application says of what is no request at all."""

INSIDE: Final = ("Traceback", "site-packages", "asyncpg", "pydantic", "/src/api", "root:x:0:0", "SELECT ")
"""What no answer may tell."""


async def strike(scene: Scene) -> None:
    """All attacks, a few at once, behind connections that never get to their point."""
    before = {name: service.pid for name, service in scene.system.services.items()}
    victim = await _victim(scene.system, scene)
    ports = [urlsplit(scene.system.url(name)).port or 0 for name in (API, WEBHOOK)]
    beginnings = itertools.cycle((raw, port) for port in ports for raw in slow_beginnings(f"127.0.0.1:{port}"))
    slow = [asyncio.create_task(_dawdle(*each)) for each in itertools.islice(beginnings, SLOW_CONNECTIONS)]
    try:
        with scene.striking(f"{len(slow)} connections that never end"):
            await _publish_odd_listings(scene)
            for name, attacks in (
                (API, on_the_api(victim, scene.chance)),
                (WEBHOOK, on_the_webhook(scene.chance, scene.system.credentials.account_sid)),
            ):
                with scene.striking(f"{len(attacks)} attacks on the {name}"):
                    await _attack(scene, name, attacks)
                await _break_rules(scene, name)
    finally:
        for each in slow:
            each.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
    for name, service in scene.system.services.items():
        if service.pid != before[name]:
            scene.breached(LAW, f"{name} has ended")
        if ATTACKER_PASSWORD in service.log.read_text(errors="replace"):
            scene.breached("L9", f"the attacker's password stands in the log of {name}")


async def _victim(system: System, scene: Scene) -> Victim:
    """One of the renters; the attacker has an account like everybody."""
    victim = scene.traffic.bystanders[0]
    async with httpx.AsyncClient(base_url=f"{system.url(API)}/api/v1", timeout=30) as api:
        account = {"email": "attacker@renters.example", "password": ATTACKER_PASSWORD}
        token = checked(await api.post("/auth/register", json=account)).json()["access_token"]
        attacker = {"Authorization": f"Bearer {token}"}
        me = checked(await api.get("/me", headers=attacker)).json()
        (search, *_) = checked(await api.get("/subscriptions", headers=victim.headers)).json()["items"]
    return Victim(
        subscription_id=search["subscription_id"],
        message_id=str(await _message_of(system, victim.user_id)),
        headers=victim.headers,
        attacker=attacker,
        attacker_id=UUID(me["user_id"]),
    )


async def _message_of(system: System, user_id: UUID) -> UUID:
    connection = await asyncpg.connect(system.addresses.postgres)
    try:
        return await connection.fetchval(_A_MESSAGE, user_id) or uuid4()
    finally:
        await connection.close()


_A_MESSAGE: Final = "SELECT message_id FROM sender.messages WHERE user_id = $1 LIMIT 1"


# --- requests ---------------------------------------------------------------------------------------------------------


async def _attack(scene: Scene, name: str, attacks: Iterable[Attack]) -> None:
    places = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=scene.system.url(name), timeout=ANSWERED_WITHIN_S) as client:

        async def make(attack: Attack) -> None:
            async with places:
                await _make(scene, name, client, attack)

        async with asyncio.TaskGroup() as going_on:
            for attack in attacks:
                going_on.create_task(make(attack))


async def _make(scene: Scene, name: str, client: httpx.AsyncClient, attack: Attack) -> None:
    headers = [(field.encode(), value.encode("latin-1", "replace")) for field, value in attack.headers.items()]
    try:
        answer = await client.request(attack.method, attack.path, headers=headers, content=attack.body or None)
    except httpx.TimeoutException:
        scene.breached(LAW, f"{name} does not answer within {ANSWERED_WITHIN_S:g} s: {attack.name}")
    except (httpx.TransportError, httpx.InvalidURL):
        pass  # the connection was cut, or the client itself would not send it
    else:
        for fault in _faults(scene, attack, answer):
            scene.breached(LAW, f"{name}: {fault}: {attack.name}", f"{attack.method} {attack.path[:80]}")


def _faults(scene: Scene, attack: Attack, answer: httpx.Response) -> Iterator[str]:
    if answer.is_server_error:
        yield f"it answers {answer.status_code}"
    if attack.refused and answer.is_success:
        yield f"it grants it ({answer.status_code})"
    promised = attack.path.startswith("/api/") and answer.is_error and answer.text != NO_REQUEST
    if promised and answer.headers.get("content-type", "") != PROBLEM:
        yield f"the refusal ({answer.status_code}) is no problem details"
    said = f"{answer.headers} {answer.text}"
    if attack.refused and any(inside in said for inside in INSIDE):
        yield "the answer tells of our inside"
    if "evil.example" in said or "x-injected" in answer.headers:
        yield "the answer repeats what a header said"
    if any(secret in said for secret in scene.system.credentials.model_dump().values()):
        yield "the answer holds a secret of ours"


# --- bytes ------------------------------------------------------------------------------------------------------------


async def _break_rules(scene: Scene, name: str) -> None:
    port = urlsplit(scene.system.url(name)).port or 0
    made = against_the_rules(f"127.0.0.1:{port}")
    scene.chance.shuffle(made)
    with scene.striking(f"{len(made)} breaches of HTTP's rules at the {name}"):
        for raw in made:
            if (answer := await _answer_to(raw, port)).startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")):
                scene.breached(LAW, f"{name}: {raw.name}: {answer[:40].decode(errors='replace')}")
    async with httpx.AsyncClient(timeout=ANSWERED_WITHIN_S) as client:
        if (await client.get(f"{scene.system.url(name)}/healthz")).status_code != HTTPStatus.OK:
            scene.breached(LAW, f"{name} is not healthy after that")


async def _answer_to(raw: Raw, port: int) -> bytes:
    """What comes back; nothing, where the connection is cut or nothing is said for a while."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(raw.sent)
                await writer.drain()
                return await reader.read(1000)
    except (OSError, TimeoutError):
        return b""


async def _dawdle(raw: Raw, port: int) -> None:
    """Begin, and write a byte now and then, until the server has had enough; then begin again."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(raw.sent)
                while not writer.is_closing():
                    writer.write(b"a")
                    await writer.drain()
                    await asyncio.sleep(SLOW_EVERY_S)
        await asyncio.sleep(SLOW_EVERY_S)


# --- listings that are allowed ----------------------------------------------------------------------------------------


async def _publish_odd_listings(scene: Scene) -> None:
    """All that a text may hold, in every text of listings that people are told of."""
    key = {"X-Api-Key": scene.system.credentials.producer_key}
    odd = [_odd(listing, number) for number, listing in zip(range(40), _listings(scene.chance), strict=False)]
    async with httpx.AsyncClient(base_url=scene.system.url(API), timeout=ANSWERED_WITHIN_S) as api:
        body = [listing.model_dump(mode="json") for listing in odd]
        body[0]["published_at"], body[1]["published_at"] = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"
        answer = await api.post("/api/v1/listings", headers=key, json=body)
    if answer.status_code != HTTPStatus.ACCEPTED:
        scene.breached(LAW, f"listings with odd texts are answered {answer.status_code}: {answer.text[:200]}")


def _listings(chance: random.Random) -> Iterator[Listing]:
    market = Market(chance.randrange(10**6))
    return (played.listing for played in market.play(dt.datetime.now(dt.UTC)) if played.listing)


def _odd(listing: Listing, number: int) -> Listing:
    text = INJECTIONS[number % len(INJECTIONS)]
    changed = {"title": text, "description": text * 20, "zone": text, "address": text, "agency": Agency(name=text)}
    identity = listing.listing_id.rpartition(":")[0]
    return listing.model_copy(update={**changed, "listing_id": f"{identity}:odd-{number}-{listing.version}"})


FAMILY: Final = Family(
    "hostile",
    "forged tokens and signatures, others' resources, huge and deep bodies, slow and broken HTTP, injections",
    strike,
)
