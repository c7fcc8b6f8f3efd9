"""What the caller keeps: flats that were answered with SALVA."""

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel

from api.dependencies import User, Wired
from api.flat_choices import SavedFlat
from api.problems import may_answer, unknown
from common.listing import ListingId

router = APIRouter(prefix="/api/v1/saved", tags=["saved"])


class SavedFlats(BaseModel):
    items: list[SavedFlat]


@router.get("")
async def saved(services: Wired, user_id: User) -> SavedFlats:
    """The flats that the caller keeps, newest first, at most 200."""
    return SavedFlats(items=await services.choices.saved_by(user_id))


@router.delete("", status_code=HTTPStatus.NO_CONTENT, responses=may_answer(404))
async def forget(services: Wired, user_id: User, listing_id: ListingId) -> None:
    """Keep a flat no longer."""
    if not await services.choices.forget(user_id, listing_id):
        raise unknown("saved flat")
