"""Events that nobody should have written, straight into every topic that a service reads; then so many in a row that
their reader stops, as if it were itself at fault.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import httpx
import orjson
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from common.records import Exact, Origin
from common.topics import Topic
from itarent.backlog import readers
from itarent.dlq.letters import DeadLetters, Letter
from itarent.environment import API, MATCHER, SENDER, service_of
from itarent.faults.adversarial import TOO_LARGE, Case, Fate, cases
from itarent.faults.scene import Family, Scene

WAVES: Final = 4
HANDLED_WITHIN_S: Final = 60.0
IN_A_ROW: Final = 1200
"""More than the thousand that stop a line, and few enough that it does not stop again when the service starts anew."""
ROWS: Final = 5
"""That are tried: what a renter does may come between, and the row begins anew."""

REPLAYED: Final = 5
LOOK_S: Final = 0.1

Condition = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Poured:
    """A record that Kafka has taken."""

    case: Case
    at: Origin


class NotHandledError(Exception):
    """Something that was published is not handled when the time for it is over."""

    def __str__(self) -> str:
        return str(self.__doc__)


async def strike(scene: Scene) -> None:
    kafka = scene.system.addresses.kafka
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_request_size=2 * TOO_LARGE) as producer,
        DeadLetters.connected(kafka, scene.system.topics) as letters,
    ):
        poured = await _pour_in_waves(scene, producer)
        await _until(_handled(scene, poured))
        _judge(scene, poured, await letters.all())
        await _replay(scene, letters)
        await _stop_a_line(scene, producer, letters)


# --- every kind of wrong ----------------------------------------------------------------------------------------------


async def _pour_in_waves(scene: Scene, producer: AIOKafkaProducer) -> list[Poured]:
    made = cases(scene.system.topics, scene.chance, dt.datetime.now(dt.UTC))
    poured: list[Poured] = []
    for number in range(WAVES):
        await asyncio.sleep(scene.chance.uniform(0.2, 1.0))
        wave = made[number::WAVES]
        with scene.striking(f"{len(wave)} malformed events"):
            poured += await _pour(producer, [case for case in wave if case.fate is not Fate.REFUSED])
            for case in wave:
                if case.fate is Fate.REFUSED and not await _is_refused(producer, case):
                    scene.breached("L1", f"Kafka has taken `{case.name}`", case.topic.name)
    return poured


async def _pour(producer: AIOKafkaProducer, made: Iterable[Case]) -> list[Poured]:
    sent = [(case, await producer.send(case.topic.name, **_parts(case.record))) for case in made]
    return [Poured(case, _origin(await acknowledged)) for case, acknowledged in sent]


async def _is_refused(producer: AIOKafkaProducer, case: Case) -> bool:
    """Alone: what is in a batch with it would be refused, too."""
    try:
        await producer.send_and_wait(case.topic.name, **_parts(case.record))
    except KafkaError:
        return True
    return False


def _parts(record: Exact) -> dict[str, Any]:
    return {"key": record.key, "value": record.value, "headers": list(record.headers)}


def _origin(acknowledged: RecordMetadata) -> Origin:
    return Origin(acknowledged.topic, acknowledged.partition, acknowledged.offset)


def _judge(scene: Scene, poured: Collection[Poured], letters: Iterable[Letter]) -> None:
    """Each is where it belongs: among the dead letters with a reason, or not."""
    found = {letter.origin: letter for letter in letters}
    skipped = _skipped_searches(scene)
    for each in poured:
        letter = found.get(each.at)
        is_dead = letter is not None or each.at in skipped
        if letter is not None:
            scene.malformed()
        if letter is not None and not letter.reason:
            scene.breached("L1", f"a dead letter without a reason: {each.case.name}", str(each.at))
        if each.case.fate is Fate.DEAD and not is_dead:
            scene.breached("L1", f"no dead letter of `{each.case.name}`", str(each.at))
        if each.case.fate is Fate.PASSED and is_dead:
            scene.breached("L1", f"a dead letter of `{each.case.name}`", str(each.at))


def _skipped_searches(scene: Scene) -> set[Origin]:
    """Every matcher reads all searches again and again: it says which it cannot read, and the topic keeps them."""
    name, skipped = scene.system.topics.subscriptions.name, set[Origin]()
    for service in scene.system.services.values():
        if service_of(service.program.name) == MATCHER:
            for line in service.log.read_text(errors="replace").splitlines():
                if "subscription skipped" in line and (said := _json(line)):
                    skipped.add(Origin(name, said["partition"], said["offset"]))
    return skipped


# --- replays ----------------------------------------------------------------------------------------------------------


async def _replay(scene: Scene, letters: DeadLetters) -> None:
    """What is replayed and still malformed is a dead letter again, and not twice."""
    before = await letters.all()
    drawn = scene.chance.sample(before, REPLAYED)
    with scene.striking(f"{REPLAYED} dead letters replayed"):
        for letter in drawn:
            await letters.replay(letter)

        async def are_dead_again() -> bool:
            now = {letter.origin for letter in await letters.all()}
            return len(now) == len(before) and not now & {letter.origin for letter in drawn}

        await _until(are_dead_again)


# --- a line that stops ------------------------------------------------------------------------------------------------


async def _stop_a_line(scene: Scene, producer: AIOKafkaProducer, letters: DeadLetters) -> None:
    """Its reader stops before it has given up everything, says so, and goes on when it is started anew."""
    topics = scene.system.topics
    topic, reader = scene.chance.choice(((topics.inbound_messages, API), (topics.recipients, SENDER)))
    with scene.striking(f"{IN_A_ROW} malformed events in a row in {topic.name}"):
        good = next(case for case in cases(topics, scene.chance, dt.datetime.now(dt.UTC)) if case.topic == topic)
        broken = Case("in a row", topic, Exact(topic.name, good.record.key or b"broken", b"{not json"), Fate.DEAD)
        poured: list[Poured] = []
        for _ in range(ROWS):
            row = await _pour(producer, [broken] * IN_A_ROW)
            poured += row
            if await _stops_at(scene, reader, topic, row):
                break
        else:
            raise NotHandledError
        given_up = {letter.origin for letter in await letters.all()}
        if given_up.issuperset(each.at for each in row):
            scene.breached("L1", "a line that says it has stopped went on", topic.name)
        await scene.system.services[reader].restart()
        await _until(_handled(scene, poured))
        scene.malformed(len(poured))
    left = {each.at for each in poured} - {letter.origin for letter in await letters.all()}
    for origin in sorted(left):
        scene.breached("L1", "no dead letter after the line went on", str(origin))


async def _stops_at(scene: Scene, reader: str, topic: Topic, row: Iterable[Poured]) -> bool:
    """Whether the reader says that it has stopped, and does not give up all of these."""
    are_handled = _handled(scene, row)

    async def is_over() -> bool:
        return await _says_that_it_stopped(scene, reader, topic) or await are_handled()

    await _until(is_over)
    return await _says_that_it_stopped(scene, reader, topic)


async def _says_that_it_stopped(scene: Scene, reader: str, topic: Topic) -> bool:
    async with httpx.AsyncClient(timeout=5) as client:
        with contextlib.suppress(httpx.TransportError):
            answer = await client.get(f"{scene.system.url(reader)}/healthz")
            return topic.name in answer.json()["stopped_lines"]
    return False


# --- waiting ----------------------------------------------------------------------------------------------------------


def _handled(scene: Scene, poured: Iterable[Poured]) -> Condition:
    """Whether every consumer group has gone past all of these; where nobody consumes by group, there is none."""
    furthest: dict[TopicPartition, int] = {}
    for each in poured:
        at = TopicPartition(each.at.topic, each.at.partition)
        furthest[at] = max(furthest.get(at, 0), each.at.offset)
    read_by = {
        group: {topic.name for topic in topics}
        for group, topics in readers(scene.system.topics, scene.system.shards).items()
    }

    async def are_handled() -> bool:
        async with _administrator(scene) as admin:
            for group, names in read_by.items():
                committed = await admin.list_consumer_group_offsets(group)
                if any(
                    at.topic in names and (at not in committed or committed[at].offset <= offset)
                    for at, offset in furthest.items()
                ):
                    return False
        return True

    return are_handled


@contextlib.asynccontextmanager
async def _administrator(scene: Scene) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.system.addresses.kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _until(holds: Condition) -> None:
    """Raises NotHandledError: it does not hold in time."""
    deadline = asyncio.get_running_loop().time() + HANDLED_WITHIN_S
    while not await holds():
        if asyncio.get_running_loop().time() > deadline:
            raise NotHandledError
        await asyncio.sleep(LOOK_S)


def _json(line: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        read: dict[str, Any] = orjson.loads(line)
        return read
    return {}


FAMILY: Final = Family(
    "malformed",
    "not JSON, wrong types, other versions, 10 MB, NaN, no key, tombstones, odd headers in every topic; a stopped line",
    strike,
)
