"""The jars of Apache Kafka. `python -m local_servers.kafka_jars` resolves them anew and rewrites the lock."""

from pathlib import Path

from local_servers.maven import locked_jars, write_lock
from local_servers.progress import Progress, no_progress

KAFKA_VERSION = "4.4.0"
BROKER = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
LOCK = Path(__file__).with_name("kafka-jars.lock")


def kafka_jars(downloads: Path, progress: Progress = no_progress) -> Path:
    """The directory that holds the broker's jars and nothing else, downloaded on first use."""
    return locked_jars(LOCK, f"Apache Kafka {KAFKA_VERSION}", downloads, progress)


if __name__ == "__main__":
    write_lock(LOCK, BROKER)
