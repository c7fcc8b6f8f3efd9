from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from common.kafka import create_topics
from common.topics import Topics
from local_servers import kafka_jars
from local_servers.home import home_of, scratch_home
from local_servers.kafka import Detour, running_kafka
from local_servers.maven import Jar, JarDiffers, sha256_of, verify
from local_servers.ports import LOOPBACK, free_port

PROJECT = Path(__file__).parents[3]
TOPIC = Topics.within("kept").notifications


@pytest.fixture
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        yield scratch


@pytest.fixture
def downloads() -> Path:
    return home_of(PROJECT) / "downloads"


def broker_of(home: Path) -> psutil.Process:
    settings = str(home / "server.properties")
    return next(process for process in psutil.Process().children() if settings in process.cmdline())


async def test_acknowledged_records_survive_a_kill_and_stopping_leaves_no_process(home: Path, downloads: Path) -> None:
    with running_kafka(home, downloads=downloads) as bootstrap:
        await create_topics(bootstrap, [TOPIC])
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            await producer.send_and_wait(TOPIC.name, b"kept", partition=0)
        broker_of(home).kill()

    aside = free_port()
    with running_kafka(home, downloads=downloads, detour=Detour(aside, advertised_port=aside)):
        broker = broker_of(home)
        async with AIOKafkaConsumer(bootstrap_servers=f"{LOOPBACK}:{aside}") as consumer:
            assert {each.port for each in consumer._client.cluster.brokers()} == {aside}
            consumer.assign([partition := TopicPartition(TOPIC.name, 0)])
            await consumer.seek_to_beginning(partition)
            assert (await consumer.getone()).value == b"kept"
    assert not broker.is_running()


def test_a_jar_that_is_not_the_locked_one_is_refused(downloads: Path) -> None:
    jars = kafka_jars.kafka_jars(downloads)
    locked = [Jar.parse(line) for line in kafka_jars.LOCK.read_text().splitlines()]
    found = {sha256_of(path) for path in jars.iterdir()}
    assert found == {jar.sha256 for jar in locked}

    swapped = next(jars.iterdir())
    with pytest.raises(JarDiffers, match="the lock says 0000"):
        verify(swapped, Jar("0" * 64, "org.example:swapped:1.0"))


def test_the_lock_names_no_host() -> None:
    assert "//" not in kafka_jars.LOCK.read_text()
