"""What matched, and what became of it."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.activity import ActivityItem
from api.dependencies import User, Wired
from api.paging import After, Limit

router = APIRouter(prefix="/api/v1/activity", tags=["activity"])


class ActivityPage(BaseModel):
    items: list[ActivityItem]
    next: str | None = Field(description="`after` of the next page; null on the last")


@router.get("")
async def page(services: Wired, user_id: User, after: After, limit: Limit = 50) -> ActivityPage:
    """The flats that matched the caller's searches, newest first, with the messages that told them."""
    items, more = await services.activity.of(user_id, after, limit)
    return ActivityPage(items=items, next=more.encoded() if more else None)
