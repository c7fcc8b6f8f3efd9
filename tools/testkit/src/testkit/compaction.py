"""Kafka's log cleaner in a hurry: what takes hours or days happens within seconds."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from common.topics import Topic

AT_ONCE = {
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "1",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
    "segment.ms": "50",
}


async def compact_at_once(bootstrap_servers: str, topics: Iterable[Topic]) -> None:
    """Let topics be compacted as soon as something is appended, with all else as it is.

    What was appended last is in the segment that Kafka does not compact, here as everywhere.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.alter_configs(
            [
                ConfigResource(ConfigResourceType.BROKER, "1", {"log.cleaner.backoff.ms": "500"}),
                *(ConfigResource(ConfigResourceType.TOPIC, topic.name, topic.config | AT_ONCE) for topic in topics),
            ]
        )
    finally:
        await admin.close()
