"""Which templates may be used now: asked of Twilio at the start and then now and then, and learnt from refusals."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import asyncpg
import structlog
from prometheus_client import Gauge

from common.postgres import CONNECTION_LOST
from sender.contents import Contents, standings_of
from sender.intake import DUE_CHANNEL
from sender.templates import MAY_STILL_COME, UNKNOWN, Approval, Key, Standing, Standings, templates
from sender.twilio import LookupFailed

log = structlog.get_logger()

approved_templates = Gauge(
    "itarent_sender_template_approved", "1 if Meta has approved this template, as Twilio says", ["purpose", "language"]
)

CHECK_EVERY_S: Final = 60.0
CHECK_SOON_S: Final = 15.0
"""While a review may end any moment, or Twilio has not answered."""

DISTRUSTED_FOR_S: Final = 900.0
"""How long a template is not used after a message with it was refused, whatever Twilio says of its approval."""

_REFUSED_AS: Final[Mapping[int, Approval]] = {
    63040: Approval.REJECTED,
    63041: Approval.PAUSED,
    63042: Approval.DISABLED,
}
_GONE: Final = frozenset({Approval.REJECTED, Approval.DISABLED, Approval.PAUSED})


class Approvals:
    """One replica's knowledge of the templates. Each replica asks by itself."""

    def __init__(self, contents: Contents, pool: asyncpg.Pool) -> None:
        self._contents = contents
        self._pool = pool
        self._told = Standings()
        self._distrusted: dict[str, tuple[Approval, float]] = {}  # by ContentSid, with until when

    def standings(self) -> Standings:
        """How the templates stand, as far as is known now."""
        now = time.monotonic()
        distrusted = {sid: approval for sid, (approval, until) in self._distrusted.items() if now < until}
        if not distrusted:
            return self._told
        return Standings(
            {
                key: replace(standing, approval=distrusted[standing.sid]) if standing.sid in distrusted else standing
                for key, standing in self._told.by_key.items()
            }
        )

    def refuse(self, content_sid: str, code: int) -> None:
        """A message with this template was refused: it is not used for a while."""
        approval = _REFUSED_AS.get(code, Approval.PAUSED)
        self._distrusted[content_sid] = (approval, time.monotonic() + DISTRUSTED_FOR_S)
        log.error(
            "Twilio: a template cannot be used", content_sid=content_sid, error_code=code, approval=approval.value
        )

    async def run(self) -> None:
        """Keep asking until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SOON_S if self._may_change_soon() else CHECK_EVERY_S)
            await self.check()

    async def check(self) -> None:
        """Ask Twilio. What waits for a template that has been approved goes out."""
        try:
            told = standings_of(templates(), await self._contents.all())
        except LookupFailed as failed:
            log.warning("Twilio could not be asked about templates, trying again", reason=str(failed))
            return
        before, self._told = self._told, told
        _tell(before, told)
        if any(told.content_sid(*key) and not before.content_sid(*key) for key in templates()):
            try:
                await self._pool.execute(_LOOK_AGAIN)
            except CONNECTION_LOST as error:  # then what waits looks again by itself, later
                log.warning("the database is away", error=type(error).__name__)

    def _may_change_soon(self) -> bool:
        return any(self._told.of(*key).approval in MAY_STILL_COME for key in templates())


def _tell(before: Standings, told: Standings) -> None:
    for key, standing in told.by_key.items():
        approved_templates.labels(*key).set(standing.approval is Approval.APPROVED)
        if standing != before.of(*key):
            _tell_one(key, before.of(*key), standing)
    if before == Standings() and all(each.approval is Approval.MISSING for each in told.by_key.values()):
        log.warning("Twilio has no templates of ours: nothing can be sent outside the 24 hours after a user's message")


def _tell_one(key: Key, before: Standing, standing: Standing) -> None:
    if before == UNKNOWN and standing.approval is Approval.MISSING:
        return
    level = log.error if standing.approval in _GONE else log.info
    level(
        "Twilio: a template's approval has changed",
        purpose=key[0].value,
        language=key[1].value,
        approval=standing.approval.value,
        reason=standing.reason or None,
    )


_LOOK_AGAIN = f"""
WITH released AS (
    UPDATE messages SET due_at = clock_timestamp()
    WHERE message_id IN (
        SELECT message_id FROM messages
        WHERE stage IN ('waiting', 'retrying') AND detail LIKE 'template\\_%'
        FOR UPDATE SKIP LOCKED
    )
    RETURNING message_id
)
SELECT pg_notify('{DUE_CHANNEL}', '') FROM released LIMIT 1
"""  # noqa: S608 - a constant
