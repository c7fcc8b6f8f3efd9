"""Jars of Maven's repository: pinned by version and SHA-256 in a lock, downloaded once by jgo."""

import hashlib
import os
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from jgo.maven import Artifact, MavenContext, PythonResolver

from local_servers.home import one_at_a_time
from local_servers.progress import Progress, no_progress

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


def locked_jars(lock: Path, title: str, downloads: Path, progress: Progress = no_progress) -> Path:
    """The directory that holds the jars of a lock and nothing else, downloaded on first use.

    Raises:
        JarDiffers: a jar is not the one that was locked.
    """
    text = lock.read_text()
    name = title.removeprefix("Apache ").lower().replace(" ", "-")
    jars = downloads / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    with one_at_a_time(downloads):
        if not jars.exists():
            locked = [Jar.parse(line) for line in text.splitlines()]
            with tempfile.TemporaryDirectory(dir=downloads) as scratch:
                complete = Path(scratch) / "jars"
                _download(locked, complete, partial(progress, f"Downloading {title}"))
                complete.rename(jars)
    return jars


def _download(jars: list[Jar], into: Path, progress: Callable[[int, int], None]) -> None:
    into.mkdir()
    with _repository() as repository, ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        downloads = [pool.submit(_fetch, jar, repository, into) for jar in jars]
        for done, download in enumerate(as_completed(downloads), start=1):
            download.result()
            progress(done, len(jars))


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
        raise JarDiffers(f"{jar.coordinate} has SHA-256 {found}, but the lock says {jar.sha256}.")


def write_lock(lock: Path, coordinates: Iterable[str]) -> None:
    """Lock what these artifacts and their published dependencies are today."""
    lock.write_text("".join(f"{jar}\n" for jar in _resolve(coordinates)))


def _resolve(coordinates: Iterable[str]) -> list[Jar]:
    """With the hashes of what was downloaded."""
    with _repository() as repository:
        roots = [repository.create_dependency(coordinate) for coordinate in coordinates]
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
