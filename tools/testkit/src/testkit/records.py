"""What a topic holds."""

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from common.topics import Topic


async def records_of(bootstrap_servers: str, topic: Topic) -> list[ConsumerRecord[bytes, bytes]]:
    """Every record that the topic holds now, in order within each partition."""
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    records: list[ConsumerRecord[bytes, bytes]] = []
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        for partition, end in (await consumer.end_offsets(partitions)).items():
            while await consumer.position(partition) < end:
                records += await _next(consumer, partition)
    return records


async def _next(consumer: AIOKafkaConsumer, partition: TopicPartition) -> list[ConsumerRecord[bytes, bytes]]:
    batches: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]] = await consumer.getmany(
        partition, timeout_ms=1000
    )
    return batches.get(partition, [])
