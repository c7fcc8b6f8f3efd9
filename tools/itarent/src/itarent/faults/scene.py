"""What a family of faults is, and what it works with.

To add a family:

1. Write `families/<name>.py` with an `async def strike(scene: Scene) -> None` that breaks something a few times while
   listings flow, and makes it whole again. It draws every choice and every pause from `scene.chance`, so that a seed
   repeats it; what goes on side by side draws beforehand, or has a chance of its own. It says what it does when it does
   it: `scene.struck("kill sender")` for what is over at once, `with scene.striking("freeze sender"):` for what lasts.
   It may take 10 to 20 s; traffic flows until it returns, and some seconds more. Whatever is still broken when it
   returns or raises, it must mend itself (`try … finally`).
2. Describe it: `FAMILY = Family("name", "what is broken, in a reader's words", strike, …)`.
3. Add one line to `families/__init__.py`.
4. Run it: `itarent faults --family name --seed 1`; that also brings `docs/faults.md` up to date.

Records that must end as dead letters are announced by `scene.malformed(count)`, and a breach that the history cannot
show by `scene.breached("L9", "what was seen", *ids)`. A family that needs another environment gives `overrides` (by
service, or by process: `sender-2`), one that needs other programs `modules`, one that puts something between the
services and their servers `between`.
"""

import contextlib
import datetime as dt
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from itarent.faults.clocks import Clocks
from itarent.faults.history import Jump, Seen, Struck
from itarent.faults.proxy import Proxy
from itarent.faults.servers import RunningServers
from itarent.faults.traffic import Traffic
from itarent.given import Servers
from itarent.system import ANY_PORTS, System
from twilio_simulator.client import SimulatorClient


@dataclass(frozen=True)
class Way:
    """How the services get to their servers, and what lies in between."""

    servers: Servers
    ports: Mapping[str, int] = field(default_factory=lambda: ANY_PORTS)
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    """By what is behind them."""

    clocks: Clocks | None = None
    """Where they are not the machine's."""

    jumps: tuple[Jump, ...] = ()
    """How far ahead they are from the start."""


@dataclass
class Scene:
    """A running system with its servers, the traffic through it, and chance, which the seed fixes."""

    system: System
    servers: RunningServers
    simulator: SimulatorClient
    traffic: Traffic
    chance: random.Random
    way: Way
    strikes: list[Struck] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    malformed_records: int = 0
    recovered_at: dt.datetime | None = None

    def struck(self, what: str) -> None:
        """Note a fault that is over as soon as it began, as a kill is."""
        now = dt.datetime.now(dt.UTC)
        self.strikes.append(Struck(what, now, now))

    @contextlib.contextmanager
    def striking(self, what: str) -> Iterator[None]:
        """Note a fault that lasts as long as the block."""
        began = dt.datetime.now(dt.UTC)
        try:
            yield
        finally:
            self.strikes.append(Struck(what, began, dt.datetime.now(dt.UTC)))

    def malformed(self, count: int = 1) -> None:
        """So many records were published that must end as dead letters."""
        self.malformed_records += count

    def breached(self, law: str, what: str, *ids: str) -> None:
        """The strike has seen something that a law forbids."""
        self.seen.append(Seen(law, what, ids))


Between = Callable[[RunningServers, Servers], AbstractAsyncContextManager[Way]]
"""What stands between the services and their servers: from where these are to how services get there."""


@contextlib.asynccontextmanager
async def nothing_between(_: RunningServers, servers: Servers) -> AsyncIterator[Way]:
    yield Way(servers)


@dataclass(frozen=True)
class Family:
    """Faults of one kind. `drains_within_s`: the time that is promised for everything to end when they are over."""

    name: str
    about: str
    strike: Callable[[Scene], Awaitable[None]]
    quick: bool = False
    """Whether it is among those that CI runs."""

    matchers: int = 1
    senders: int = 1
    given: Mapping[str, str] = field(default_factory=dict)
    """Settings that all services get."""

    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Environment variables beyond the suite's own, by service or process."""

    modules: Mapping[str, str] = field(default_factory=dict)
    """Python modules that are run in the place of services, by service or process."""

    between: Between = nothing_between
    why_not: Callable[[], str] = str
    """Why it cannot be run here; empty where it can be."""

    drains_within_s: float = 120.0
    """The longest of the usual waits is a minute: the confirmation of a STOP that START has overtaken ends then."""

    burst: float = 0.0
    """How many messages more than the suite's own allowance may be accepted at once, where the faults themselves bunch
    what was sent evenly (a network that holds requests back); in the family's docstring stands why."""
