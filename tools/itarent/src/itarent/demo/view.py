"""The terminal's live view: counts per stage with rate and lag, what was played, the newest message of each phone."""

from collections.abc import Mapping
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


def view(film: Film, seen: Seen) -> RenderableType:
    """Everything on one screen."""
    return Group(
        Panel(_flow(seen), title="ITA_RENT_BOT: a listing's way", subtitle="Ctrl-C stops it"),
        Panel(_played(film), title="published"),
        Panel(_chats(seen), title="phones"),
    )


def line(film: Film, seen: Seen) -> str:
    """The same in a line, where there is no terminal."""
    stages = " ".join(f"{stage['id']}={stage['total']}" for stage in seen.stages)
    return f"published={film.played.total()} {stages}"


def _flow(seen: Seen) -> Table:
    table = Table(box=None, expand=True)
    for heading in ("stage", "total", "per second", "lag"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in seen.stages:
        lag = "" if stage["lag"] is None else str(stage["lag"])
        table.add_row(stage["id"], str(stage["total"]), f"{stage['per_second']:.1f}", lag)
    return table


def _played(film: Film) -> Group:
    counts = "  ".join(f"{scene}: {film.played[scene]}" for scene in Scene)
    return Group(Text(counts, style="dim"), *(_scene(played) for played in film.latest))


def _scene(played: Played) -> Text:
    what = Text(f"{played.scene:<14}", style=COLOURS[played.scene])
    listing = played.listing
    if listing is None:
        return what + Text("bytes that are no listing: see the dead letters")
    rent = listing.monthly_rent_cents
    euro = "on request" if rent is None else f"{rent / 100:,.0f} €"
    return what + Text(f"{euro:>14}  {listing.title}  ({listing.source})", no_wrap=True, overflow="ellipsis")


def _chats(seen: Seen) -> Table:
    table = Table(box=None, expand=True, show_header=False)
    table.add_column(width=16)
    table.add_column(width=3)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for phone in seen.chats[: len(NAMES)]:
        last: dict[str, Any] = phone["last"]
        tick = "←" if last["written_here"] else TICKS.get(last["status"], "!")
        first_lines = " / ".join(filter(None, last["body"].splitlines()))
        table.add_row(Text(phone["name"] or "?", style="bold"), tick, Text(first_lines))
    return table
