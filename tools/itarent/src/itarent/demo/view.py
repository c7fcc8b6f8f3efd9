"""The terminal's live view: counts per stage with rate and lag, what was played, the newest message of each phone."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from itarent.demo.film import Film
from itarent.demo.flats import Played, Scene
from itarent.demo.watching import NAMES, Seen

TICKS: Final[Mapping[str, str]] = {"queued": "·", "sending": "·", "sent": "✓", "delivered": "✓✓", "read": "✓✓"}
COLOURS: Final[Mapping[Scene, str]] = {
    Scene.NEW: "green",
    Scene.SECOND_PORTAL: "cyan",
    Scene.PRICE_DROP: "magenta",
    Scene.WITHDRAWN: "yellow",
    Scene.DOUBTFUL: "red",
    Scene.BROKEN: "red",
}
MEANINGS: Final[Mapping[str, str]] = {
    "listings": "published to Kafka",
    "matcher": "compared with all searches",
    "notifications": "a renter is to be told",
    "sender": "in the ledger",
    "twilio": "messages taken",
    "statuses": "reported back",
    "delivered": "messages on phones",
}
TAKEN_LINES: Final = 12 + len(MEANINGS)
"""All but the phones and the latest listings: the addresses above, frames, headings, the line of the cursor."""


def view(film: Film, seen: Seen, height: int) -> RenderableType:
    """Everything on one screen of so many lines: as many of the latest listings as there is room for."""
    chats = seen.chats[: len(NAMES)]
    room = max(1, height - TAKEN_LINES - len(chats))
    statuses = "  ".join(f"{status} {count}" for status, count in sorted(seen.messages_by_status.items()))
    return Group(
        Panel(_flow(seen), title="ITA_RENT_BOT: a listing's way", subtitle="Ctrl-C stops it"),
        Panel(_played(film, room), title="published"),
        Panel(_chats(chats), title="phones", subtitle=statuses or None),
    )


def line(film: Film, seen: Seen) -> str:
    """The same in a line, where there is no terminal."""
    stages = " ".join(f"{stage['id']}={stage['total']}" for stage in seen.stages)
    return f"published={film.played.total()} {stages}"


def _flow(seen: Seen) -> Table:
    table = Table(box=None, expand=True, pad_edge=False)
    table.add_column("stage")
    table.add_column(ratio=1, style="dim")
    for heading in ("total", "per second", "lag"):
        table.add_column(heading, justify="right")
    for stage in seen.stages:
        lag = "" if stage["lag"] is None else f"{stage['lag']:,}"
        name, meaning = stage["id"], MEANINGS.get(stage["id"], "")
        table.add_row(name, meaning, f"{stage['total']:,}", f"{stage['per_second']:.1f}", lag)
    return table


def _played(film: Film, room: int) -> Group:
    counts = "  ".join(f"{scene} {film.played[scene]}" for scene in Scene)
    return Group(
        Text(counts, style="dim", no_wrap=True, overflow="ellipsis"),
        *(_scene(played) for played in islice(film.latest, room)),
    )


def _scene(played: Played) -> Text:
    what = Text(no_wrap=True, overflow="ellipsis").append(f"{played.scene:<14}", style=COLOURS[played.scene])
    listing = played.listing
    if listing is None:
        return what.append("bytes that are no listing: see the dead letters")
    rent = listing.monthly_rent_cents
    euro = "on request" if rent is None else f"{rent / 100:,.0f} €"
    return what.append(f"{euro:>14}  {listing.title}  ({listing.source})")


def _chats(chats: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, expand=True, show_header=False, pad_edge=False)
    table.add_column(width=16)
    table.add_column(width=3)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for phone in chats:
        last = phone["last"]
        tick = "←" if last["written_here"] else TICKS.get(last["status"], "!")
        first_lines = " / ".join(filter(None, last["body"].replace("*", "").splitlines()))  # stars: WhatsApp's bold
        table.add_row(Text(phone["name"] or "?", style="bold"), tick, Text(first_lines))
    return table
