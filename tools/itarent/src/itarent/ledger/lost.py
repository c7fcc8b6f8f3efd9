"""Dead letters that name a user, a listing or a notification: what of them never reached the ledger."""

from dataclasses import dataclass

from common.records import original
from common.topics import Topics
from itarent.dlq.letters import DeadLetters, Letter
from itarent.dlq.letters import Lost as Gone
from itarent.ledger.telling import moment


@dataclass(frozen=True)
class Lost:
    """A record that could not be handled, and why."""

    letter: str
    said: str


async def letters_about(name: str, bootstrap_servers: str, topics: Topics) -> list[Lost]:
    """The dead letters whose key or value has the name in it, oldest first."""
    async with DeadLetters.connected(bootstrap_servers, topics) as letters:
        return [_told(letter) for letter in await letters.all() if await _names(letters, letter, name.encode())]


async def _names(letters: DeadLetters, letter: Letter, name: bytes) -> bool:
    try:
        record = original(await letters.record(letter))
    except Gone:
        return False
    return name in (record.key or b"") or name in (record.value or b"")


def _told(letter: Letter) -> Lost:
    said = (
        f"A record of it on {letter.topic.name} could not be read at {moment(letter.since)}, so it is a dead letter: "
        f"{letter.reason} `itarent dlq show {letter.origin}` shows it, `itarent dlq replay {letter.origin}` has it "
        "handled once the cause is mended."
    )
    return Lost(str(letter.origin), said)
