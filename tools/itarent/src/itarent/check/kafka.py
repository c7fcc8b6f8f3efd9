"""Kafka: are the topics as they should be, and does every consumer group get on?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from common.kafka import create_topics
from common.topics import Topic, Topics
from itarent.backlog import readers
from itarent.check.report import Finding, failed, ok, warning

MOVES_WITHIN_S: Final = 5.0
"""A group that has work handles some of it in this time, or is stuck: retries after a failure are less than that apart
until it has failed for seconds."""

Committed = dict[TopicPartition, int]


@contextlib.asynccontextmanager
async def administrator(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=10_000)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


# --- topics ----------------------------------------------------------------------------------------------------------


async def check_topics(bootstrap_servers: str, topics: Topics, *, fix: bool) -> list[Finding]:
    """Every topic compared with what it should be; what is missing is created if it is to be fixed."""
    async with administrator(bootstrap_servers) as admin:
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics.all() if topic.name not in existing]
        present = [topic for topic in topics.all() if topic.name in existing]
        partitions, configs = await _partitions(admin, present), await _configs(admin, present)
    if fix:
        await create_topics(bootstrap_servers, missing)
    findings = [_created(topic) if fix else _missing(topic) for topic in missing]
    for topic in present:
        findings += _differences(bootstrap_servers, topic, partitions[topic.name], configs[topic.name])
    return findings or [ok(f"{len(present)} topics are as they should be")]


async def _partitions(admin: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, int]:
    described = await admin.describe_topics([topic.name for topic in topics]) if topics else []
    return {each["topic"]: len(each["partitions"]) for each in described}


async def _configs(admin: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    answers = cast("list[Any]", await admin.describe_configs(asked)) if asked else []
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in answers
        for _code, _message, _type, name, entries in answer.resources
    }


def _created(topic: Topic) -> Finding:
    return ok(f"{topic.name} was missing and is created")


def _missing(topic: Topic) -> Finding:
    return failed(f"{topic.name} is missing", "`itarent check system --fix` creates what is missing.")


def _differences(bootstrap: str, topic: Topic, partitions: int, config: Mapping[str, str]) -> Iterator[Finding]:
    if partitions < topic.partitions:
        yield failed(
            f"{topic.name} has {partitions} partitions instead of {topic.partitions}",
            f"Stop the services, since keys move to other partitions, then: kafka-topics.sh --bootstrap-server "
            f"{bootstrap} --alter --topic {topic.name} --partitions {topic.partitions}",
        )
    if partitions > topic.partitions:
        yield failed(
            f"{topic.name} has {partitions} partitions instead of {topic.partitions}, and Kafka takes none away",
            f"Deleting it loses what it holds: kafka-topics.sh --bootstrap-server {bootstrap} --delete "
            f"--topic {topic.name}, then itarent check system --fix",
        )
    wrong = {name: value for name, value in topic.config.items() if _normal(config.get(name)) != _normal(value)}
    if wrong:
        found = ", ".join(f"{name}={config.get(name)} instead of {value}" for name, value in wrong.items())
        settings = ",".join(f"{name}=[{value}]" if "," in value else f"{name}={value}" for name, value in wrong.items())
        yield failed(
            f"{topic.name} has {found}",
            f"kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics "
            f"--entity-name {topic.name} --add-config '{settings}'",
        )


def _normal(value: str | None) -> list[str]:
    """Policies are a set: Kafka keeps them as they were written."""
    return sorted((value or "").split(","))


# --- consumer groups -------------------------------------------------------------------------------------------------


async def check_lag(bootstrap_servers: str, topics: Topics, shards: int) -> list[Finding]:
    """Each consumer group: is there anybody, how far behind is it, and does it get on?"""
    async with (
        administrator(bootstrap_servers) as admin,
        AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False) as consumer,
    ):
        read_by = readers(topics, shards)
        existing = set(await admin.list_topics())
        sizes = await _partitions(admin, [topic for topic in topics.own() if topic.name in existing])
        groups = {
            name: [TopicPartition(topic.name, number) for topic in read for number in range(sizes.get(topic.name, 0))]
            for name, read in read_by.items()
        }
        return list(
            await asyncio.gather(*(_group(admin, consumer, name, partitions) for name, partitions in groups.items()))
        )


async def _state(admin: AIOKafkaAdminClient, group: str) -> str:
    """Kafka's word for a group: Stable, Empty, Dead, PreparingRebalance, CompletingRebalance."""
    # One at a time: aiokafka 0.14 reads the answer about several groups by the schema of an earlier version.
    (answer,) = cast("list[Any]", await admin.describe_consumer_groups([group]))
    state: str = answer.groups[0][2]
    return state


async def _group(
    admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, name: str, partitions: list[TopicPartition]
) -> Finding:
    state = await _state(admin, name)
    ends: Committed = await consumer.end_offsets(partitions)
    first = await committed(admin, name)
    behind = {at: lag for at in partitions if (lag := ends[at] - first.get(at, 0)) > 0}
    total = sum(behind.values())
    if state in {"Empty", "Dead"}:
        return failed(f"{name}: nobody reads, {total} records wait", f"Start {name}.")
    stuck = await _stuck(admin, name, first, behind)
    if stuck:
        where = ", ".join(f"{at.topic}/{at.partition} at {first.get(at, 0)}" for at in sorted(stuck))
        return failed(
            f"{name} is stuck, {total} records wait: {where}",
            f"Look into the log of {name} for `handler failed`, and into `itarent dlq list`.",
        )
    if behind:
        return warning(f"{name} is {total} records behind and gets on", f"If that lasts, start more of {name}.")
    return ok(f"{name} has read everything ({state.lower()})")


async def _stuck(
    admin: AIOKafkaAdminClient, group: str, first: Committed, behind: Mapping[TopicPartition, int]
) -> set[TopicPartition]:
    """The partitions that have work of which nothing is handled within some seconds."""
    stuck = set(behind)
    deadline = asyncio.get_running_loop().time() + MOVES_WITHIN_S
    while stuck and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.2)
        now = await committed(admin, group)
        stuck = {at for at in stuck if now.get(at, 0) == first.get(at, 0)}
    return stuck


async def committed(admin: AIOKafkaAdminClient, group: str) -> Committed:
    """The offset that the group reads next, by partition."""
    offsets = await admin.list_consumer_group_offsets(group)
    return {at: max(0, found.offset) for at, found in offsets.items()}
