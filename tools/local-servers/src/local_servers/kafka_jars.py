"""The jars of Apache Kafka: pinned by version and SHA-256 in `kafka-jars.lock`, downloaded once by jgo.

`python -m local_servers.kafka_jars` resolves BROKER's dependencies anew and rewrites the lock.
"""

import hashlib
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jgo.maven import Artifact, MavenContext, PythonResolver

from local_servers.home import one_at_a_time
from local_servers.progress import Progress, no_progress

KAFKA_VERSION = "4.4.0"
BROKER = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
LOCK = Path(__file__).with_name("kafka-jars.lock")
DOWNLOADS_AT_ONCE = 8


class JarDiffers(Exception):  # noqa: N818 - named by what is the case
    """A downloaded jar is not the one that was locked."""


@dataclass(frozen=True)
class Jar:
    """One line of the lock."""

    sha256: str
    coordinate: str  # group:artifact:version

    @classmethod
    def parse(cls, line: str) -> Self:
        sha256, coordinate = line.split()
        return cls(sha256, coordinate)

    def __str__(self) -> str:
        return f"{self.sha256}  {self.coordinate}"

    def artifact(self, repository: MavenContext) -> Artifact:
        group, name, version = self.coordinate.split(":")
        return repository.project(group, name).at_version(version).artifact()


def kafka_jars(downloads: Path, progress: Progress = no_progress) -> Path:
    """The directory that holds the locked jars and nothing else, downloaded on first use."""
    lock = LOCK.read_text()
    jars = downloads / f"kafka-{KAFKA_VERSION}-{hashlib.sha256(lock.encode()).hexdigest()[:8]}"
    with one_at_a_time(downloads):
        if not jars.exists():
            locked = [Jar.parse(line) for line in lock.splitlines()]
            with tempfile.TemporaryDirectory(dir=downloads) as scratch:
                complete = Path(scratch) / "jars"
                _download(locked, complete, progress)
                complete.rename(jars)
    return jars


def _download(jars: list[Jar], into: Path, progress: Progress) -> None:
    into.mkdir()
    with _repository() as repository, ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        downloads = [pool.submit(_fetch, jar, repository, into) for jar in jars]
        for done, download in enumerate(as_completed(downloads), start=1):
            download.result()
            progress(f"Downloading Apache Kafka {KAFKA_VERSION}", done, len(jars))


def _fetch(jar: Jar, repository: MavenContext, into: Path) -> None:
    path = jar.artifact(repository).resolve()
    verify(path, jar)
    shutil.move(path, into / path.name)


def verify(path: Path, jar: Jar) -> None:
    """Compare a file with the lock.

    Raises:
        JarDiffers: it is another one.
    """
    if (found := sha256_of(path)) != jar.sha256:
        raise JarDiffers(f"{jar.coordinate} has SHA-256 {found}, but {LOCK.name} says {jar.sha256}.")


def resolve() -> list[Jar]:
    """The broker's jars as its published dependencies say today, with the hashes of what was downloaded."""
    with _repository() as repository:
        roots = [repository.create_dependency(coordinate) for coordinate in BROKER]
        _, nodes = repository.resolver.get_dependency_list(roots)
        artifacts = [dependency.artifact for dependency in (*roots, *(node.dep for node in nodes))]
        return sorted((_locked(artifact) for artifact in artifacts), key=lambda jar: jar.coordinate)


def _locked(artifact: Artifact) -> Jar:
    return Jar(sha256_of(artifact.resolve()), f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}")


@contextmanager
def _repository() -> Iterator[MavenContext]:
    """Maven's repository, through a cache that is thrown away: what counts is the lock."""
    # jgo's HTTP client trusts public authorities alone, unless told; a company's own are in the system's store.
    trusted = ssl.get_default_verify_paths()
    if store := trusted.cafile or trusted.capath:
        os.environ.setdefault("REQUESTS_CA_BUNDLE", store)
    with tempfile.TemporaryDirectory() as cache:
        yield MavenContext(resolver=PythonResolver(), repo_cache=Path(cache), local_repos=[], timeout=60)


def sha256_of(path: Path) -> str:
    with path.open("rb") as jar:
        return hashlib.file_digest(jar, "sha256").hexdigest()


if __name__ == "__main__":
    LOCK.write_text("".join(f"{jar}\n" for jar in resolve()))
