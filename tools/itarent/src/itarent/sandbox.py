"""`itarent sandbox`: how a phone joins Twilio's sandbox, with a QR code that it can scan off the terminal."""

import io
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Final
from urllib.parse import quote

import httpx
import segno
import typer
from rich.console import Console
from rich.text import Text

from common.settings import WhatsApp, faults_of
from itarent import local

NUMBER: Final = "+14155238886"
WHITE_ON_BLACK: Final = "#ffffff on #000000"
"""The light modules are drawn, the dark ones are the background: so it can be scanned off any colour scheme."""

WORDS_UNKNOWN: Final = (
    "Twilio's console shows the words (Messaging → Try it out → Send a WhatsApp message): "
    "set WHATSAPP_SANDBOX_JOIN to what follows `join`."
)


@dataclass(frozen=True)
class Sandbox:
    """What a phone sends where; `join` is None where nobody has said the words."""

    number: str
    written: str
    join: str | None
    link: str


class NoSandbox(Exception):  # noqa: N818 - named by what is the case
    """There is no sandbox to join; the message says why."""


def sandbox(*, as_json: Annotated[bool, typer.Option("--json", help="number, words and link as JSON")] = False) -> None:
    """Show the sandbox's number, the words that join it, and both as a link and a QR code.

    Of the system that runs here; else as WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_SANDBOX_JOIN say.
    """
    try:
        found = _of_system(running.api_url) if (running := local.running()) else _of_settings()
    except NoSandbox as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(asdict(found), indent=2)) if as_json else _show(found, Console())


def _of_system(api_url: str) -> Sandbox:
    try:
        answer = httpx.get(f"{api_url}/api/v1/whatsapp/sandbox", timeout=10)
    except httpx.TransportError as error:
        raise NoSandbox(f"The api of the running system does not answer ({type(error).__name__}).") from error
    body = answer.json()
    if answer.is_error:
        raise NoSandbox(body["detail"])
    return Sandbox(body["number"], body["written"], body["join"], body["link"])


def _of_settings() -> Sandbox:
    if faults := faults_of(WhatsApp):
        raise NoSandbox("\n".join(map(str, faults)))
    settings = WhatsApp()
    number, words = settings.whatsapp_number, settings.whatsapp_sandbox_join
    if number != NUMBER and not words:
        raise NoSandbox("WHATSAPP_PHONE_NUMBER_ID is not Twilio's sandbox: there is nothing to join.")
    join = f"join {words}" if words else None
    link = f"https://wa.me/{number.removeprefix('+')}" + (f"?text={quote(join)}" if join else "")
    return Sandbox(number, _written(number), join, link)


def _written(number: str) -> str:
    """`+1 415 523 8886`: the sandbox's number is American; another is left as it is."""
    return f"+1 {number[2:5]} {number[5:8]} {number[8:]}" if number == NUMBER else number


def _show(found: Sandbox, console: Console) -> None:
    console.print("Twilio's sandbox writes to phones only that have joined it. From each phone:", highlight=False)
    console.print(f"  send   {found.join or 'join <your two words>'}", style="bold", markup=False, highlight=False)
    console.print(f"  to     {found.written}", style="bold", highlight=False)
    console.print("or scan this, or open the link on the phone:\n", highlight=False)
    console.print(qr_text(found.link), no_wrap=True, crop=False, soft_wrap=True)
    console.print(f"\n{found.link}", soft_wrap=True, highlight=False, markup=False)
    console.print("A join lasts three days: then send the words again.", highlight=False)
    if found.join is None:
        console.print(WORDS_UNKNOWN, style="yellow", highlight=False, markup=False)


def qr_text(link: str) -> Text:
    """A QR code of half blocks: two modules of its height in a line of text."""
    drawing = io.StringIO()
    segno.make(link, error="m", micro=False).terminal(out=drawing, border=4, compact=True)
    return Text(drawing.getvalue().rstrip("\n"), style=WHITE_ON_BLACK)
