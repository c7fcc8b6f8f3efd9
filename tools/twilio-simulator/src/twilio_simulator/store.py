"""Messages, chats, phones and templates, in memory and in the journal."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

from twilio_simulator.contents import Content
from twilio_simulator.journal import Journal, Removal, read
from twilio_simulator.phones import Phone, number_of
from twilio_simulator.resources import Direction, Message


class Watch:
    """The numbers whose chats have changed since they were last asked for."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._closed = False

    def notice(self, number: str) -> None:
        self._changed.add(number)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    async def changes(self) -> set[str] | None:
        """Wait for changes; None when there will be no more."""
        await self._wake.wait()
        self._wake.clear()
        changed, self._changed = self._changed, set()
        return None if self._closed else changed


def person_of(message: Message) -> str:
    """The number at the other end."""
    return number_of(message.sender if message.direction is Direction.INBOUND else message.to)


class Store:
    def __init__(self, path: Path | None = None) -> None:
        self.messages: dict[str, Message] = {}
        self.contents: dict[str, Content] = {}
        self._chats: dict[str, list[str]] = {}  # number → SIDs; the chat that was written to last is the last
        self._phones: dict[str, Phone] = {}
        self._watches: set[Watch] = set()
        for entry in read(path) if path else ():
            match entry:
                case Message():
                    self._keep(entry)
                case Phone():
                    self._phones[entry.number] = entry
                case Content():
                    self.contents[entry.sid] = entry
                case Removal():
                    self._drop(entry.sid)
                    self.contents.pop(entry.sid, None)
                    self._phones.pop(entry.sid, None)
        self._journal = Journal(path)
        self._journal.restart(chain(self._phones.values(), self.contents.values(), self.messages.values()))

    def record(self, message: Message) -> None:
        """The message as it now is."""
        self._keep(message)
        self._journal.append(message)
        self._notice(person_of(message))

    def count_callback_attempt(self, sid: str) -> None:
        """Kept in memory; the journal has the number as of the last change of status."""
        if message := self.messages.get(sid):
            self.messages[sid] = replace(message, callback_attempts=message.callback_attempts + 1)

    def remove(self, sid: str) -> None:
        number = person_of(self.messages[sid])
        self._drop(sid)
        self._journal.append(Removal(sid))
        self._notice(number)

    def save(self, phone: Phone) -> None:
        self._phones[phone.number] = phone
        self._journal.append(phone)
        self._notice(phone.number)

    def keep(self, content: Content) -> None:
        """The template as it now is."""
        self.contents[content.sid] = content
        self._journal.append(content)

    def remove_content(self, sid: str) -> None:
        del self.contents[sid]
        self._journal.append(Removal(sid))

    def forget(self, number: str) -> None:
        """A phone and its chat, as if it had never been."""
        for message in list(self.newest_of(number)):
            self.remove(message.sid)
        self._chats.pop(number, None)
        self._phones.pop(number, None)
        self._journal.append(Removal(number))
        self._notice(number)

    def phone(self, number: str) -> Phone:
        """The phone as it is known; one that nobody has heard of has done nothing yet."""
        return self._phones.get(number) or Phone(number)

    def numbers(self) -> Iterator[str]:
        """Everyone with a chat, the newest first, then phones without one."""
        yield from reversed(self._chats)
        yield from (number for number in self._phones if number not in self._chats)

    def newest_of(self, number: str) -> Iterator[Message]:
        """A chat's messages, the newest first."""
        return (self.messages[sid] for sid in reversed(self._chats.get(number, ())))

    def newest(self) -> Iterator[Message]:
        return reversed(self.messages.values())

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        watch = Watch()
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def clear(self) -> None:
        """Forget messages and phones; templates belong to the account."""
        numbers = list(self.numbers())
        self.messages.clear()
        self._chats.clear()
        self._phones.clear()
        self._journal.restart(self.contents.values())
        for number in numbers:
            self._notice(number)

    def close(self) -> None:
        self.end_watches()
        self._journal.close()

    def end_watches(self) -> None:
        for watch in self._watches:
            watch.close()

    def _keep(self, message: Message) -> None:
        if message.sid not in self.messages:
            number = person_of(message)
            chat = self._chats.pop(number, [])
            chat.append(message.sid)
            self._chats[number] = chat
        self.messages[message.sid] = message

    def _drop(self, sid: str) -> None:
        if message := self.messages.pop(sid, None):
            self._chats[person_of(message)].remove(sid)

    def _notice(self, number: str) -> None:
        for watch in self._watches:
            watch.notice(number)
