"""The setup guides stay true: what they name exists, they agree with each other, and the English one is followed."""

import re
import secrets
import shlex
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import orjson
import pytest
import typer.main
import uvicorn
from pydantic_settings import BaseSettings
from typer.core import TyperGroup

from common.events import Language, MessageStatus
from common.settings import faults_of
from itarent.cli import app
from itarent.environment import SETTINGS
from itarent.guides import guide_in, with_errors
from itarent.project import PROJECT
from local_servers.home import home_of, scratch_home
from local_servers.ports import free_port
from testkit.terminal import Shell, Terminal, project_copied_to
from testkit.waiting import eventually
from twilio_simulator.client import SimulatorClient, connected

PHONE: Final = "+393335550101"
SHELLS: Final = ("sh", "console")
"""Blocks of commands: `sh` is typed by the test that follows the guide, `console` is for people."""

DRAWN: Final = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "DATABASE_URL": "postgresql://role:secret@127.0.0.1:5432/itarent",
    "PUBLIC_URL": "http://127.0.0.1:8000",
    "JWT_SECRET": "j" * 32,
    "LINK_SIGNING_KEY": "l" * 32,
    "PRODUCER_KEY": "p" * 32,
    "OPERATOR_KEY": "o" * 32,
}
"""What a local system draws for itself."""

NO_SETTINGS: Final = {"ITA_RENT_BOT", "YOUR_ACCOUNT_SID", "YOUR_MESSAGE_ID"}

every_guide = pytest.mark.parametrize("language", Language)


@dataclass(frozen=True)
class Block:
    """Something in a guide that is typed or shown as it is. `kind` is the word after its fence."""

    kind: str
    text: str

    @property
    def commands(self) -> list[str]:
        """One by one, without comments and line ends in between."""
        joined = self.text.replace("\\\n", " ").replace("|\n", "| ")
        return [line for line in map(str.strip, joined.splitlines()) if line]


def guide(language: Language) -> str:
    return guide_in(language).read_text(encoding="utf-8")


def blocks_of(language: Language) -> list[Block]:
    fenced = re.findall(r"^( *)```(\w+)\n(.*?)^\1```$", guide(language), re.MULTILINE | re.DOTALL)
    return [Block(kind, textwrap.dedent(text)) for _, kind, text in fenced]


def code_in(language: Language) -> list[str]:
    """What stands in a sentence between backticks."""
    prose = re.sub(r"^ *```\w+\n.*?^ *```$", "", guide(language), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def commands_in(language: Language) -> list[list[str]]:
    """Every command of a guide in its words, without the variables before it."""
    typed = [line for block in blocks_of(language) if block.kind in SHELLS for line in block.commands]
    named = [code for code in code_in(language) if re.match(r"([A-Z_]+=\S+ )?(itarent|make|python) ", code)]
    bare = [re.sub(r"^[A-Z_]+=(\$\(|\S* ?)", "", line) for line in [*typed, *named]]
    return [shlex.split(line, comments=True) for line in bare if line]


# --- they agree with each other, and with the system ------------------------------------------------------------------


@every_guide
def test_each_guide_types_and_shows_the_same_in_the_same_order(language: Language) -> None:
    assert [_without_words(block) for block in blocks_of(language)] == [
        _without_words(block) for block in blocks_of(Language.ENGLISH)
    ]


def _without_words(block: Block) -> Block:
    """A block without what each language says in its own words."""
    text = re.sub(r" +# .*$", "", block.text, flags=re.MULTILINE)
    return Block(block.kind, re.sub(r'("language"|"password"): "[^"]+"', r"\1", text))


@every_guide
def test_each_guide_has_the_same_sections_and_lists_them(language: Language) -> None:
    levels = [level for level, _ in _headings(language)]
    assert levels == [level for level, _ in _headings(Language.ENGLISH)]
    listed = re.findall(r"^\d+\. \[(.+)\]\(#", guide(language), re.MULTILINE)
    assert [f"{n}. {title}" for n, title in enumerate(listed, 1)] == [
        title for level, title in _headings(language) if level == "##"
    ]


def _headings(language: Language) -> list[tuple[str, str]]:
    prose = re.sub(r"^ *```\w+\n.*?^ *```$", "", guide(language), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^(#+) (.+)$", prose, re.MULTILINE)


@every_guide
def test_the_words_about_an_error_code_are_those_of_the_catalogue(language: Language) -> None:
    assert guide(language) == with_errors(guide(language), language), "run `itarent guides`"


@every_guide
def test_every_command_and_option_exists(language: Language) -> None:
    commands = commands_in(language)
    assert len(commands) > 30
    for first, *arguments in commands:
        match first:
            case "itarent":
                _parse_itarent(arguments)
            case "make":
                assert re.search(rf"^{re.escape(arguments[0])}:", (PROJECT / "Makefile").read_text(), re.MULTILINE)
            case "python":
                _check_python(arguments)
            case _:
                assert first in {".", "cp", "cd", "git", "curl", "grep", "tail", "docker", "kubectl"}


def _parse_itarent(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup):
        subcommand = command.get_command(command.context_class(command), arguments.pop(0))
        assert subcommand is not None
        command = subcommand
    _, left_over, _ = command.make_parser(command.context_class(command)).parse_args(arguments)
    assert left_over == []


def _check_python(arguments: list[str]) -> None:
    match arguments:
        case ["-m", "uvicorn", target, *options]:
            assert (PROJECT / f"{target.partition(':')[0].replace('.', '/')}.py").exists()
            _, left_over, _ = uvicorn.main.make_parser(click.Context(uvicorn.main)).parse_args(options)
            assert left_over == []
        case ["-c", code]:
            compile(code, "guide", "exec")
        case [script, *_]:
            assert (PROJECT / script).exists()
        case _:
            pytest.fail("python alone asks for a line, and the guide says none")


@every_guide
def test_every_setting_that_is_named_exists(language: Language) -> None:
    known = {field.upper() for settings in SETTINGS.values() for field in settings.model_fields}
    in_sentences = {
        name for code in code_in(language) for name in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", code.partition("=")[0])
    }
    in_blocks = {line.partition("=")[0] for block in _dotenv(language) for line in block.commands}
    assert len(in_blocks) > 8
    assert (in_sentences | in_blocks) - NO_SETTINGS <= known


@every_guide
def test_what_is_put_into_the_file_is_accepted_once_it_is_filled_in(
    language: Language, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    in_file = "".join(block.text for block in _dotenv(language))
    for example, own in _account().items():
        in_file = in_file.replace(example, own)
    values = DRAWN | dict(line.split("=", 1) for line in in_file.splitlines())
    every_one: list[type[BaseSettings]] = [*SETTINGS.values()]
    assert [fault for settings in every_one for fault in faults_of(settings, values)] == []


def _dotenv(language: Language) -> list[Block]:
    return [block for block in blocks_of(language) if block.kind == "dotenv"]


def _account() -> dict[str, str]:
    """An account of one's own, by the guides' examples."""
    sid = f"AC{secrets.token_hex(16)}"
    return {
        "YOUR_ACCOUNT_SID": sid,
        "your_account_sid": sid,
        "your_auth_token": secrets.token_hex(16),
        "your_random_token_of_32_characters": secrets.token_hex(16),
    }


@every_guide
def test_every_route_exists(language: Language) -> None:
    routes = orjson.loads((PROJECT / "docs" / "openapi.json").read_bytes())["paths"]
    called = re.findall(r"\$API(/[\w/-]+)", guide(language))
    named = [code for code in code_in(language) if re.fullmatch(r"/(auth|whatsapp)/[\w/-]+", code)]
    assert len({*called, *named}) > 5
    assert [path for path in [*called, *named] if f"/api/v1{path}" not in routes] == []


@every_guide
def test_every_status_is_explained(language: Language) -> None:
    explained = [
        name for row in re.findall(r"^\| (`[a-z_`, ]+`) \|", guide(language), re.MULTILINE) for name in row.split(", ")
    ]
    assert {name.strip("`") for name in explained} >= set(MessageStatus) - {MessageStatus.UNKNOWN}


@every_guide
def test_every_link_leads_somewhere(language: Language) -> None:
    text = guide(language)
    anchors = {_anchor(title) for _, title in _headings(language)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if not path:
            assert anchor in anchors
        elif not path.startswith("https://"):
            assert (PROJECT / "docs" / path).exists(), target


def _anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


# --- and the English one is followed ----------------------------------------------------------------------------------


@pytest.fixture
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        (scratch / "downloads").symlink_to(home_of(PROJECT) / "downloads")
        yield scratch


@dataclass
class Follower:
    """Somebody who does what the guide says, block by block, with the simulator in Twilio's place."""

    terminal: Terminal
    shell: Shell
    api_port: int
    stack: AsyncExitStack
    last: str = ""
    answer: Any = None
    printed: dict[str, str] = field(default_factory=dict)
    _simulator: SimulatorClient | None = None

    @property
    def simulator(self) -> SimulatorClient:
        assert self._simulator is not None, "the guide has not started the system"
        return self._simulator

    async def follow(self, block: Block) -> None:
        match block.kind:
            case "sh":
                await self.type(block.text)
            case "json":
                await self.compare(orjson.loads(block.text))
            case "dotenv" if self._simulator is None:
                self.fill_in(block.text)
            case "text":
                labels = [line.partition(":")[0] for line in block.text.splitlines()]
                assert [label for label in labels if f"{label}: " not in self.printed[self.last]] == []
            case _:
                pass  # for people; and settings that would change the system as it runs

    async def type(self, commands: str) -> None:
        self.last = commands.strip()
        if commands.startswith("make up"):
            await self._start(commands)
        elif commands.startswith("tail -f"):
            self.printed[self.last] = await self.terminal.first_lines(commands)
        else:
            await self._prepare(commands)
            self.printed[self.last] = await self.shell.run(commands, may_fail=commands.startswith("grep"))

    async def _start(self, command: str) -> None:
        running = self.terminal.running(command, until="\nTwilio: ", show=self.terminal.folder / "up.out")
        self.printed[self.last] = (await self.stack.enter_async_context(running)).printed
        twilio, token = self.terminal.values["https://api.twilio.com"], self.terminal.values["your_auth_token"]
        self._simulator = await self.stack.enter_async_context(connected(twilio, token))
        await self.simulator.write(PHONE, "join select-thumb")

    async def _prepare(self, commands: str) -> None:
        """Look up what the guide leaves to whoever follows it."""
        if "YOUR_CODE" in commands:
            self.terminal.values["YOUR_CODE"] = await eventually(self._code, within_seconds=60)
        if "YOUR_MESSAGE_ID" in commands:
            self.terminal.values["YOUR_MESSAGE_ID"] = self.answer["messages"][0]["message_id"]

    async def _code(self) -> str:
        texts = [message.body for message in await self.simulator.messages() if message.to == PHONE]
        return next((found[1] for text in texts if (found := re.search(r"^\*(\w{6})\*$", text, re.MULTILINE))), "")

    def fill_in(self, settings: str) -> None:
        """Give settings of `.env` the values that the guide shows."""
        file = self.terminal.folder / ".env"
        text = file.read_text(encoding="utf-8")
        for line in self.terminal.filled_in(settings).splitlines():
            name = line.partition("=")[0]
            text, changed = re.subn(rf"^(# )?{name}=.*$", line, text, flags=re.MULTILINE)
            assert changed == 1, name
        # Somebody else may have port 8000 of this machine.
        file.write_text(f"{text}PUBLIC_URL=http://localhost:{self.api_port}\n", encoding="utf-8")

    async def compare(self, shown: Any) -> None:
        """The last command's answer is the one that the guide shows, at once or, of a question, in a while."""

        async def is_answered() -> bool:
            if self.answer is not None and "-X POST" not in self.last:
                self.printed[self.last] = await self.shell.run(self.last)
            self.answer = orjson.loads(self.printed[self.last])
            assert _shows(shown, self.answer), self.answer
            return True

        self.answer = None
        await eventually(is_answered, within_seconds=0 if "-X POST" in self.last else 60)


def _shows(shown: Any, actual: Any) -> bool:
    """Whether an answer holds all that the guide shows of it; ids and times are each time others."""
    match shown:
        case dict():
            return isinstance(actual, dict) and all(
                key in actual and _shows(value, actual[key]) for key, value in shown.items()
            )
        case list():
            return all(any(_shows(value, each) for each in actual) for value in shown)
        case str() if kind := next((kind for kind in ALWAYS_NEW if kind.match(shown)), None):
            return kind.match(actual) is not None
        case _:
            return bool(shown == actual)


ALWAYS_NEW: Final = (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-"), re.compile(r"\d{4}-\d\d-\d\dT\d\d:"))


@pytest.fixture
async def follower(home: Path, tmp_path: Path) -> AsyncIterator[Follower]:
    twilio_port = free_port()
    api_port = free_port(avoid={twilio_port})
    values = {
        "https://api.twilio.com": f"http://127.0.0.1:{twilio_port}",
        "http://localhost:8000": f"http://localhost:{api_port}",
        **_account(),
    }
    terminal = Terminal(project_copied_to(tmp_path, PROJECT), home, values)
    async with AsyncExitStack() as stack:
        shell = await stack.enter_async_context(terminal.shell())
        yield Follower(terminal, shell, api_port, stack)


@pytest.mark.timeout(400)
async def test_the_guide_leads_from_nothing_to_a_delivered_message(follower: Follower) -> None:
    followed = blocks_of(Language.ENGLISH)
    for block in followed:
        await follower.follow(block)

    said = follower.printed
    assert "✓ nothing is wrong with them" in said["itarent settings"]
    assert "join select-thumb" in said["itarent sandbox"]
    for check in ("python test_twilio_whatsapp.py", "python test_whatsapp_integration.py"):
        assert "Everything works." in said[check]
        assert "✗" not in said[check]
    assert "Twilio" in said['tail -f logs/whatsapp_worker.log | grep "Twilio"']
    assert "It is delivered" in said["itarent ledger show YOUR_MESSAGE_ID"]

    texts = [message for message in await follower.simulator.messages() if message.to == PHONE]
    assert [message.status for message in texts] == ["delivered"] * 3, "the code, the confirmation, the test"
    assert PHONE not in (follower.terminal.folder / "logs" / "whatsapp_worker.log").read_text(encoding="utf-8")
