"""The thread of the phone page in a terminal: `sisters chat`; it knows the simulator by its HTTP calls alone."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

from aiohttp import ClientError, ClientSession, ClientTimeout
from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout

from deploy import terminal
from deploy.simulator.chat_lines import Said, news, reason

DEFAULT_URL: Final = "http://127.0.0.1:8099"
_HELP: Final = "/person NAME writes as somebody else, /people lists them, /quit ends; all else is sent"
_ANSWERED_WITHIN_S: Final = 90.0
"""How long a line from a pipe waits for its answer: a real model may take LLM_TIMEOUT_S, and a second time."""
_LOOK_S: Final = 0.3
_QUIET_S: Final = 2.0
"""Without `sisters inspect`: after this without another message the answer is taken to be whole."""
_REASON_TRIES: Final = 10
_SHORT: Final = ClientTimeout(total=60, sock_connect=3)
_STREAM: Final = ClientTimeout(total=None, sock_connect=3, sock_read=45)
_LONGEST_EVENT: Final = 4 * 1024 * 1024
_FAILED: Final = 400


class ChatFailed(Exception):
    """There is nobody to talk to, or no answer came; the message says what to do."""


class Chat:
    """One person's thread at a time."""

    def __init__(self, session: ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._people: list[dict[str, Any]] = []
        self._who: dict[str, Any] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._told: set[int] = set()
        self._reasons_missing = False
        self._remarks: set[asyncio.Task[None]] = set()
        self.heard = asyncio.Event()
        """Set by each message of the bot to whoever is talking."""
        self.listening = asyncio.Event()
        """Set once nothing can be missed any more."""

    @property
    def name(self) -> str:
        """Who is writing."""
        return str(self._who["name"])

    async def begin(self, person: str) -> None:
        """Chooses who writes, the first one when nobody is named. Raises: ChatFailed."""
        self._people = await self._call("GET", "/simulator/people")
        self._who = self._people[0]
        if person:
            self.become(person)

    def become(self, person: str) -> None:
        """Goes on as another person: one of the prepared ones, or any number. Raises: ChatFailed."""
        found = next((p for p in self._people if person.lower() in (p["id"], p["name"].lower())), None)
        if found is None and not person.startswith("+"):
            known = ", ".join(p["id"] for p in self._people)
            raise ChatFailed(f"nobody is called {person!r}; known are {known}, or give a number such as +491700000001")
        self._who = found or {"name": person, "from": person, "person": f"whatsapp:{person}"}
        self.heard.clear()

    def list_people(self) -> None:
        """Says who may write."""
        for each in self._people:
            terminal.remark(f"{each['id']:8} {each['number'] or 'hidden number'}")

    async def write(self, text: str) -> str:
        """Sends a message and returns its SID. Raises: ChatFailed."""
        self.heard.clear()
        message = {"from": self._who["from"], "profile_name": self._who["name"], "body": text, "wait": False}
        return str((await self._call("POST", "/simulator/inbound", message))["sid"])

    async def listen(self, *, echo: bool) -> None:
        """Shows what happens until cancelled; `echo`: also what was typed here. Raises: ChatFailed."""
        last = ""
        while True:
            with suppress(ClientError, TimeoutError):
                async for number, event, data in self._events(last):
                    last = number or last
                    await self._show(event, data, echo=echo)
            await asyncio.sleep(1)
            await self._call("GET", "/healthz")

    async def wait_for_answer(self, sid: str) -> None:
        """Returns once the message has ended, as the bot's records say, or else once the bot has said something.

        Raises: ChatFailed when neither happens in time.
        """
        end = asyncio.get_running_loop().time() + _ANSWERED_WITHIN_S
        while asyncio.get_running_loop().time() < end:
            story = await self._story(sid)
            if story and story["facts"]["ending"]:
                await asyncio.sleep(_LOOK_S)  # its last event is on the way
                return
            if self._reasons_missing and self.heard.is_set():
                self.heard.clear()
                await asyncio.sleep(_QUIET_S)
                if not self.heard.is_set():
                    return
                continue
            await asyncio.sleep(_LOOK_S)
        raise ChatFailed(f"no answer within {_ANSWERED_WITHIN_S:.0f} s; is the bot running?")

    async def _show(self, event: str, data: dict[str, Any], *, echo: bool) -> None:
        match event:
            case "hello":
                if not data["resumed"]:
                    for row in await self._call("GET", "/simulator/messages"):
                        self._rows.setdefault(row["sid"], row)  # what was said before is not told again
                self.listening.set()
            case "typing" if data["person"] == self._who["person"]:
                terminal.remark("… typing")
            case "message":
                before = self._rows.get(data["sid"])
                self._rows[data["sid"]] = data
                if data["person"] == self._who["person"]:
                    self._show_message(data, before, echo=echo)
            case _:
                pass

    def _show_message(self, row: dict[str, Any], before: dict[str, Any] | None, *, echo: bool) -> None:
        for said in news(row, before):
            _show(said, echo=echo)
        if before is None and row["direction"] != "inbound":
            self.heard.set()
            task = asyncio.create_task(self._tell_reason(row["sid"]))
            self._remarks.add(task)
            task.add_done_callback(self._remarks.discard)

    async def _tell_reason(self, sid: str) -> None:
        """Once a turn; the bot knows the id of what it sent only a moment after the person sees it."""
        for _ in range(_REASON_TRIES):
            story = await self._story(sid)
            if story and story["facts"].get("decision") and story["turn"] not in self._told:
                self._told.add(story["turn"])
                terminal.remark(reason(story))
            if story or self._reasons_missing:
                return
            await asyncio.sleep(_LOOK_S)

    async def _story(self, sid: str) -> dict[str, Any] | None:
        """What the bot's own records say of a message; None where they do not know it yet, or nobody tells."""
        path = f"/simulator/inspect/timeline/{quote(sid)}"
        with suppress(ClientError, TimeoutError):
            async with self._session.get(self._url + path, timeout=_SHORT) as answer:
                content: dict[str, Any] = await answer.json()
                self._reasons_missing = answer.status not in (200, 404)
                return content if answer.status == 200 else None  # noqa: PLR2004 - found
        self._reasons_missing = True
        return None

    async def _events(self, last: str) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
        headers = {"Last-Event-ID": last} if last else {}
        async with self._session.get(f"{self._url}/simulator/events", headers=headers, timeout=_STREAM) as stream:
            event: dict[str, str] = {}
            async for raw in stream.content:
                key, _, value = raw.decode().rstrip("\n").partition(": ")
                if key:
                    event[key] = value
                    continue
                if "data" in event:
                    yield event.get("id", ""), event.get("event", ""), json.loads(event["data"])
                event = {}

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            async with self._session.request(method, self._url + path, json=body, timeout=_SHORT) as answer:
                content = await answer.json()
        except (ClientError, TimeoutError, ValueError):
            raise ChatFailed(
                f"no simulator answers at {self._url}; start one with make demo or docker compose up, "
                "or name it in SIMULATOR_URL"
            ) from None
        if answer.status >= _FAILED:
            raise ChatFailed(f"{path}: {content.get('error', answer.status)}")
        return content


def _show(said: Said, *, echo: bool) -> None:
    match said.by:
        case "person":
            if echo:
                terminal.said_by_person(said.text)
        case "bot":
            terminal.said_by_bot(said.text)
        case "remark":
            terminal.remark(said.text)


async def _obey(chat: Chat, line: str) -> bool:
    """Carries out a command; returns whether the chat goes on."""
    command, _, argument = line.strip().partition(" ")
    match command:
        case "/quit":
            return False
        case "/person" if argument.strip():
            try:
                chat.become(argument.strip())
            except ChatFailed as error:
                terminal.remark(str(error))
            else:
                terminal.remark(f"writing as {chat.name}")
        case "/people":
            chat.list_people()
        case _:
            terminal.remark(_HELP)
    return True


async def _by_hand(chat: Chat) -> None:
    """A person at a terminal: what is typed stays below, what happens goes by above."""
    prompt: PromptSession[str] = PromptSession()
    terminal.remark(f"Simulated WhatsApp, writing as {chat.name}. {_HELP}.")
    with patch_stdout(raw=True):
        while True:
            try:
                line = await prompt.prompt_async(lambda: f"{chat.name} > ")
            except (EOFError, KeyboardInterrupt):
                return
            if line.startswith("/"):
                if not await _obey(chat, line):
                    return
            elif line.strip():
                await chat.write(line)


async def _from_a_pipe(chat: Chat) -> None:
    """Line by line: each is answered before the next goes out."""
    loop = asyncio.get_running_loop()
    while raw := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        line = raw.decode(errors="replace").rstrip("\r\n")
        if line.startswith("/"):
            if not await _obey(chat, line):
                return
        elif line.strip():
            await chat.wait_for_answer(await chat.write(line))


async def _run(person: str, url: str) -> None:
    at_hand = sys.stdin.isatty() and sys.stdout.isatty()
    async with ClientSession(read_bufsize=_LONGEST_EVENT) as session:
        chat = Chat(session, url)
        await chat.begin(person)
        listening = asyncio.create_task(chat.listen(echo=not at_hand))
        await asyncio.wait_for(chat.listening.wait(), 10)
        talking = asyncio.create_task(_by_hand(chat) if at_hand else _from_a_pipe(chat))
        try:
            done, _ = await asyncio.wait((listening, talking), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (listening, talking):
                task.cancel()
            await asyncio.gather(listening, talking, return_exceptions=True)


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0 good, 1 nobody answers, 2 wrong usage."""
    if len(arguments) > 1:
        print("usage: python -m deploy.simulator.chat [PERSON]", file=sys.stderr)
        return 2
    try:
        asyncio.run(
            _run(arguments[0] if arguments else "", (os.environ.get("SIMULATOR_URL") or DEFAULT_URL).rstrip("/"))
        )
    except (ChatFailed, TimeoutError) as error:
        print(error or "the simulator does not answer", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
