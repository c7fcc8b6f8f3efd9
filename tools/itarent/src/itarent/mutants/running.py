"""Tests run against a mutant in a process of its own, which never touches the working tree.

The process is a fork of one that has imported what tests need, so that a mutant costs the time of its tests and not
the seconds of imports; the mutant takes its module's place as that is imported.
"""

import contextlib
import marshal
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

from itarent.mutants.making import Mutant
from itarent.project import PROJECT
from itarent.refusal import Refusal

IMPORTED_BEFORE: Final = (
    "pytest",
    "hypothesis.strategies",
    "numba",
    "numpy",
    "shapely",
    "orjson",
    "aiokafka.record",
    "common.events",
    "common.explain",
    "testkit.factories",
    "testkit.strategies",
)

WITHOUT_A_COMPILER: Final = frozenset({"matcher.kernels"})
"""Modules that numba compiles: a mutant would be compiled anew, which takes longer than the tests."""

SHORTEST_LIMIT_S: Final = 20

PYTEST: Final = ("-x", "-q", "--import-mode=importlib", "--noconftest", "-c", os.devnull, f"--rootdir={PROJECT}")
"""Bare: no plug-in, no servers."""


class TestsFail(Refusal):
    """The tests must pass before a mutant can make them fail."""


@dataclass(frozen=True)
class Outcome:
    mutant: Mutant
    killed_by: str | None
    """A test, or how else the mutant was noticed; None if it survived."""


def limits(tests: Sequence[str], mutants: Sequence[Mutant]) -> dict[bool, float]:
    """How many seconds these mutants may take, with a compiler and without: longer, and a loop has no end.

    Raises TestsFail if the tests fail without a mutant.
    """
    found = {}
    for compiled in {_compiled(mutant) for mutant in mutants}:
        started = time.monotonic()
        if failure := _failure(tests, None, None, compiled=compiled):
            raise TestsFail(f"{failure} fails without a mutant: the tests must pass first")
        found[compiled] = SHORTEST_LIMIT_S + 5 * (time.monotonic() - started)
    return found


def try_out(mutant: Mutant, tests: Sequence[str], within: Mapping[bool, float]) -> Outcome:
    """What the tests say of a mutant; `within` as by `limits`."""
    compiled = _compiled(mutant)
    return Outcome(mutant, _failure(tests, within[compiled], mutant, compiled=compiled))


def _compiled(mutant: Mutant) -> bool:
    return mutant.module not in WITHOUT_A_COMPILER


def _failure(tests: Sequence[str], seconds: float | None, mutant: Mutant | None, *, compiled: bool) -> str | None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED_BEFORE))
    ours, theirs = context.Pipe(duplex=False)
    changed = (mutant.module, mutant.code) if mutant else None
    process = context.Process(target=_run_tests, args=(theirs, list(tests), changed, compiled), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            return "the time limit"
        with contextlib.suppress(EOFError):
            answer: str | None = ours.recv()
            return answer
        process.join()
        return f"exit status {process.exitcode}"
    finally:
        process.kill()
        process.join()
        ours.close()


def _run_tests(answer: Connection, tests: list[str], changed: tuple[str, bytes] | None, compiled: bool) -> None:
    import numba.core.config  # noqa: PLC0415 - of the tests' process alone
    import pytest  # noqa: PLC0415 - as above

    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.chdir(PROJECT)
    if not compiled:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
        numba.core.config.reload_config()  # type: ignore[no-untyped-call] # as published
    if changed:
        sys.meta_path.insert(0, _Mutation(changed[0], marshal.loads(changed[1])))  # noqa: S302 - our parent's
    warnings = ("-W", "error") if compiled else ("-W", "ignore")  # plain numpy warns where compiled code wraps around
    seen = _FirstFailure()
    status = pytest.main([*PYTEST, *warnings, "-p", "no:cacheprovider", *tests], plugins=[seen])
    if status in {pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED}:
        raise RuntimeError(f"pytest could not run {tests}")
    answer.send(None if status == pytest.ExitCode.OK else seen.name or f"pytest's status {int(status)}")


class _FirstFailure:
    """A plug-in of pytest."""

    name: str | None = None

    def pytest_runtest_logreport(self, report: Any) -> None:  # noqa: ANN401 - pytest is no dependency of ours
        if report.failed and self.name is None:
            file, _, test = report.location
            self.name = f"{Path(file).name}::{test}"

    def pytest_collectreport(self, report: Any) -> None:  # noqa: ANN401 - as above
        if report.failed and self.name is None:
            self.name = f"the import of {report.nodeid.rpartition('/')[2]}"


class _Mutation(MetaPathFinder):
    """Imports one module from other code than its file holds."""

    def __init__(self, name: str, code: CodeType) -> None:
        self._name, self._code = name, code

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == self._name else None
        if spec is not None:
            assert spec.origin
            spec.loader = _Loader(name, spec.origin, self._code)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - importlib's own signature
        return self._code
