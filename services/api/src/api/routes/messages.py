"""A message's story: every status that it had, and when."""

from uuid import UUID

from fastapi import APIRouter

from api.activity import MessageStory
from api.dependencies import User, Wired
from api.problems import unknown

router = APIRouter(prefix="/api/v1/messages", tags=["messages"])


@router.get("/{message_id}")
async def story(services: Wired, user_id: User, message_id: UUID) -> MessageStory:
    """A message of the caller's: what it tells, its statuses with their times, and what an error means."""
    told = await services.activity.story_of(user_id, message_id)
    if told is None:
        raise unknown("message")
    return told
