"""Twilio's callbacks come twice, late, out of order, before the answer, or never; others forge and replay them."""

import asyncio
from typing import Final

import httpx

from itarent.faults.scene import Family, Scene
from itarent.faults.traffic import WentWrongError
from twilio_simulator.client import AcceptedMessage
from twilio_simulator.faults import Fault, FaultKind
from twilio_simulator.resources import Status
from twilio_simulator.signature import signature_of

LATE_S: Final = 3.0
FORGERIES: Final = 20
ALWAYS: Final = (
    Fault(FaultKind.LOSE, times=None, probability=0.15),
    Fault(FaultKind.DOUBLE, times=None, probability=0.2),
    Fault(FaultKind.DELAY, times=None, probability=0.2, seconds=LATE_S),
    Fault(FaultKind.REORDER, times=None, probability=0.3),
    Fault(FaultKind.FORGE, times=None, probability=0.2),
    Fault(FaultKind.CALLBACK_FIRST, times=None, probability=0.3),
)


async def strike(scene: Scene) -> None:
    with scene.striking("callbacks go astray"):
        await scene.simulator.script(*scene.chance.sample(ALWAYS, len(ALWAYS)))
        async with httpx.AsyncClient(timeout=5) as client:
            for _ in range(FORGERIES):
                await asyncio.sleep(scene.chance.uniform(0.3, 0.8))
                if sent := await scene.simulator.messages():
                    message = scene.chance.choice(sent)
                    await _forge(scene, message, client)
                    await _replay(scene, message, client)


async def _forge(scene: Scene, message: AcceptedMessage, client: httpx.AsyncClient) -> None:
    """Somebody who knows the address, and not the token, says that a message has failed."""
    if (status := await _post(message, Status.FAILED, "somebody-else's-token", client)) != httpx.codes.FORBIDDEN:
        raise ForgeryTakenError(status)
    scene.struck("forge a callback")


async def _replay(scene: Scene, message: AcceptedMessage, client: httpx.AsyncClient) -> None:
    """A callback as Twilio may have sent it long ago, signed as it was."""
    await _post(message, Status.QUEUED, scene.system.credentials.auth_token, client)
    scene.struck("replay a callback")


class ForgeryTakenError(WentWrongError):
    """A callback with a wrong signature was not refused."""


async def _post(message: AcceptedMessage, status: Status, auth_token: str, client: httpx.AsyncClient) -> int:
    url = (message.status_callback or "").partition("#")[0]
    form = {"MessageSid": message.sid, "MessageStatus": status.value, "To": f"whatsapp:{message.to}"}
    headers = {"X-Twilio-Signature": signature_of(auth_token, url, form)}
    return (await client.post(url, data=form, headers=headers)).status_code


FAMILY: Final = Family(
    "callbacks", "callbacks are lost, doubled, late, out of order, before the answer, forged and replayed", strike
)
