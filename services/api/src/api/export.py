"""Export: everything that the system holds about a user, as one document (GDPR, art. 15 and 20)."""

import datetime as dt
from typing import Any, Final
from uuid import UUID

import asyncpg
from pydantic import BaseModel, Field

from api.security import Pseudonyms

Entries = list[dict[str, Any]]


class Export(BaseModel):
    """Everything that is kept about the caller, but for secrets: the password's hash, tokens, codes."""

    exported_at: dt.datetime
    account: dict[str, Any]
    profile: dict[str, Any] = Field(description="how and when messages come, and the proven phone")
    phone: dict[str, Any] = Field(description="since when it is linked, what is claimed, when it last wrote to us")
    sign_ins: Entries
    searches: Entries
    notifications: Entries = Field(description="flats that matched: why, when, and what became of each")
    direct_messages: Entries = Field(description="tests, codes and answers that were asked for")
    messages: Entries = Field(description="what was sent, with every status that was reported; texts are not kept here")
    flat_choices: Entries = Field(description="flats that are kept, and those that are to be told never again")
    consents: Entries = Field(description="what was agreed to and taken back, how and when")


class Exports:
    def __init__(self, pool: asyncpg.Pool, pseudonyms: Pseudonyms) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms

    async def of(self, user_id: UUID, now: dt.datetime) -> Export | None:
        """A user's export as of one moment; None for an account that has gone."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            account = await connection.fetchval(_ACCOUNT, user_id)
            if account is None:
                return None
            phone_hash = self._pseudonyms.of_phone(await connection.fetchval(_PHONE, user_id) or "")
            one = {
                "profile": await connection.fetchval(_PROFILE, user_id),
                "phone": await connection.fetchval(_PHONE_LINK, user_id, phone_hash),
            }
            many = {name: await connection.fetchval(query, user_id) for name, query in _LISTS.items()}
        return Export(exported_at=now, account=account, **one, **many)


_PHONE = "SELECT phone FROM recipients WHERE user_id = $1"

_ACCOUNT = """
SELECT jsonb_build_object('user_id', user_id, 'email', email, 'issuer', issuer, 'subject', subject,
    'created_at', created_at)
FROM users WHERE user_id = $1
"""

_PROFILE = "SELECT to_jsonb(recipients) FROM recipients WHERE user_id = $1"

_PHONE_LINK = """
SELECT jsonb_build_object(
    'link', (SELECT to_jsonb(phone_links) FROM phone_links WHERE user_id = $1),
    'claim', (SELECT to_jsonb(claim) - 'code' FROM phone_claims AS claim WHERE user_id = $1),
    'heard', (SELECT to_jsonb(heard) - 'phone_hash' FROM phones_heard AS heard WHERE phone_hash = $2))
"""

_LISTS: Final = {
    "sign_ins": """
        SELECT coalesce(jsonb_agg(jsonb_build_object('began_at', began_at) ORDER BY began_at), '[]')
        FROM sign_ins WHERE user_id = $1
    """,
    "searches": """
        SELECT coalesce(jsonb_agg(to_jsonb(subscriptions) ORDER BY created_at), '[]')
        FROM subscriptions WHERE user_id = $1
    """,
    "notifications": """
        SELECT coalesce(jsonb_agg(to_jsonb(notification) - 'arrival' || jsonb_build_object(
            'settled', (SELECT to_jsonb(settled) FROM settled_notifications AS settled
                        WHERE settled.notification_id = notification.notification_id),
            'told_in', (SELECT jsonb_agg(to_jsonb(told)) FROM told_in_messages AS told
                        WHERE told.notification_id = notification.notification_id))
            ORDER BY requested_at), '[]')
        FROM notifications AS notification WHERE user_id = $1
    """,
    "direct_messages": """
        SELECT coalesce(jsonb_agg(to_jsonb(direct_messages) ORDER BY requested_at), '[]')
        FROM direct_messages WHERE user_id = $1
    """,
    "messages": """
        SELECT coalesce(jsonb_agg(to_jsonb(message) - 'arrival' || jsonb_build_object(
            'statuses', (SELECT jsonb_agg(to_jsonb(step) - 'rank' ORDER BY reported_at) FROM message_statuses AS step
                         WHERE step.message_id = message.message_id))
            ORDER BY first_reported_at), '[]')
        FROM messages AS message WHERE user_id = $1
    """,
    "flat_choices": """
        SELECT coalesce(jsonb_agg(to_jsonb(flat_choices) ORDER BY chosen_at), '[]')
        FROM flat_choices WHERE user_id = $1
    """,
    "consents": """
        SELECT coalesce(jsonb_agg(to_jsonb(consents) ORDER BY at), '[]') FROM consents WHERE user_id = $1
    """,
}
