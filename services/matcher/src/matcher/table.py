"""The searches of all users as they now are: every record of their topic is applied in its order."""

import contextlib
from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog
from aiokafka import ConsumerRecord
from prometheus_client import Counter

from common.events import SubscriptionSaved
from common.kafka import Foreign, Invalid, Received, decode, holds_nul, is_of_type
from common.search import Criterion
from matcher.asking import Asking
from matcher.index import Index
from matcher.question import COLUMNS
from matcher.reading import SearchReader
from matcher.register import Filed

log = structlog.get_logger()

records_skipped = Counter("itarent_matcher_subscriptions_skipped_total", "Records of subscriptions that make no sense")

COMMUTE: Final = [rule.criterion for rule in COLUMNS].index(Criterion.COMMUTE)

Holds = Callable[[UUID], bool]
"""Whether a user's searches are kept here."""


class Table:
    def __init__(self) -> None:
        self.index = Index()
        self.asking = Asking()
        self.reader = SearchReader(self.index.criteria)

    def apply(self, record: ConsumerRecord[bytes, bytes], holds: Holds) -> None:
        search = self._read_at_once(record)
        if search is None:
            self._apply_by_model(record, holds)
        elif holds(UUID(bytes=search.user_id)) and self.index.put(search):
            self.asking.remove(search.subscription_id)

    def _read_at_once(self, record: ConsumerRecord[bytes, bytes]) -> Filed | None:
        """A search that is written as we write it, and asks for no way to work: nearly all."""
        if record.key is None or record.value is None or not is_of_type(record, SubscriptionSaved):
            return None
        search = None if holds_nul(record.value) else self.reader.read(record.value, record.key)
        return None if search and COMMUTE in search.wishes else search

    def _apply_by_model(self, record: ConsumerRecord[bytes, bytes], holds: Holds) -> None:
        match decode(record, {SubscriptionSaved.type: SubscriptionSaved}):
            case Received(_, SubscriptionSaved(subscription=subscription)):
                if holds(subscription.user_id) and self.index.put(self.reader.filed(subscription)):
                    self.asking.put(subscription)
            case Received(key, _):
                with contextlib.suppress(ValueError):  # what is no id of ours was never here
                    self.index.remove(UUID(key).bytes)
                    self.asking.remove(UUID(key).bytes)
            case Foreign():
                pass
            case Invalid(_, reason):
                # Every instance reads every record: the dead letters would hold it as often as there are instances.
                records_skipped.inc()
                log.error("subscription skipped", partition=record.partition, offset=record.offset, reason=reason)
