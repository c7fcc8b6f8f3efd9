"""`itarent guides`: Twilio's error codes, as the one catalogue explains them, into the setup guide of each language."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from common.events import Language
from common.twilio_errors import MEANING_OF, Advice, advice_of, advice_without_answer
from itarent.project import PROJECT

BEGIN, END = "<!-- errors -->", "<!-- /errors -->"

USUAL: Final = (20003, 21606, 63015, 63016, 21608, 21617)
"""What goes wrong first: the account, the number, the sandbox, the window, a trial account, a text that is too long."""


@dataclass(frozen=True)
class Headings:
    """Of both tables, and of their columns."""

    usual: str
    others: str
    columns: tuple[str, str, str]


HEADINGS: Final = {
    Language.ENGLISH: Headings("The usual ones:", "The others:", ("code", "what happened", "what to do")),
    Language.ITALIAN: Headings("I più comuni:", "Gli altri:", ("codice", "che cosa è successo", "che cosa fare")),
    Language.RUSSIAN: Headings("Самые частые:", "Остальные:", ("код", "что произошло", "что делать")),
}


def guides() -> None:
    """Write the tables of Twilio's error codes into docs/setup.*.md: the sentences of log, pages and API."""
    for language in Language:
        path = guide_in(language)
        path.write_text(with_errors(path.read_text(encoding="utf-8"), language), encoding="utf-8")
    typer.echo("The guides are up to date.")


def guide_in(language: Language) -> Path:
    return PROJECT / "docs" / f"setup.{language}.md"


def with_errors(guide: str, language: Language) -> str:
    """The guide with the tables of today's catalogue between its markers."""
    before, _, rest = guide.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_tables(language)}\n\n{END}{after}"


def _tables(language: Language) -> str:
    headings = HEADINGS[language]
    explained = _explained(language)
    usual = [row for code in USUAL for row in explained if code in row[0]]
    others = [row for row in explained if row not in usual]
    silences = [((), advice_without_answer(asked=asked, language=language)) for asked in (False, True)]
    return "\n\n".join(
        [
            headings.usual,
            _table(headings.columns, usual),
            headings.others,
            _table(headings.columns, [*others, *silences]),
        ]
    )


Row = tuple[tuple[int, ...], Advice]


def _explained(language: Language) -> list[Row]:
    """Each advice with the codes that get it, in the order of the codes."""
    codes: dict[Advice, list[int]] = {}
    for code in sorted(MEANING_OF):
        codes.setdefault(advice_of(code, language), []).append(code)
    return [(tuple(those), advice) for advice, those in codes.items()]


def _table(columns: Iterable[str], rows: Iterable[Row]) -> str:
    return "\n".join(
        [
            f"| {' | '.join(columns)} |",
            "|---|---|---|",
            *(f"| {', '.join(map(str, codes)) or '–'} | {advice.what} | {advice.cure} |" for codes, advice in rows),  # noqa: RUF001 - a dash
        ]
    )
