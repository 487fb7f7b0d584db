"""The Telegram bot as a process of its own, against a local stand-in for the Bot API over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

TOKEN = "123456:a-token-of-the-test"
NEVER_READY = "fake:dimension=384,hang_load=true"
ADA, BOB = 101, 202


class BotApi:
    """As much of the Bot API as a bot for text needs; it records what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []
        self.methods: list[str] = []
        self.refusals = 0
        self._updates: list[dict[str, Any]] = []
        self._written = 0
        self._change = asyncio.Condition()

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/bot{token}/{method}", self._answer)
        return application

    async def write(self, chat: int, text: str | None, kind: str = "private") -> float:
        """Let the person in `chat` write; without text, something else than text."""
        person = {"id": chat, "is_bot": False, "first_name": f"Person {chat}"}
        content = {"dice": {"emoji": "🎲", "value": 6}} if text is None else {"text": text}
        async with self._change:
            self._written += 1
            message = {
                "message_id": self._written,
                "date": int(time.time()),
                "chat": {"id": chat, "type": kind},
                "from": person,
                **content,
            }
            self._updates.append({"update_id": self._written, "message": message})
            self._change.notify_all()
        return time.monotonic()

    async def receives(self, chat: int, part: str, within: float = 30) -> str:
        """The first message to `chat` with `part`; every message is received once."""

        def found() -> tuple[int, str] | None:
            return next((each for each in self.sent if each[0] == chat and part in each[1]), None)

        async with self._change:
            try:
                await asyncio.wait_for(self._change.wait_for(found), within)
            except asyncio.TimeoutError:
                pytest.fail(f"{chat} did not get {part!r} within {within} s, but {self.sent}")
            message = found()
            assert message is not None
            self.sent.remove(message)
        return message[1]

    async def _answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        fields = {name: str(value) for name, value in (await request.post()).items()}
        if request.match_info["token"] != TOKEN:
            return _refused(401, "Unauthorized")
        self.methods.append(method)
        match method:
            case "getMe":
                me = {"id": 123456, "is_bot": True, "first_name": "Bot", "username": "test_bot"}
                return _accepted(me)
            case "deleteWebhook":
                return _accepted(True)
            case "getUpdates":
                return _accepted(await self._poll(fields))
            case "sendMessage":
                return await self._send(int(fields["chat_id"]), fields["text"])
        return _refused(404, "Not Found: method not found")

    async def _poll(self, fields: dict[str, str]) -> list[dict[str, Any]]:
        offset = int(fields.get("offset", 0))

        def waiting() -> list[dict[str, Any]]:
            return [update for update in self._updates if update["update_id"] >= offset]

        async with self._change:
            self._change.notify_all()  # somebody may wait for the bot to poll
            with contextlib.suppress(asyncio.TimeoutError):
                timeout = float(fields.get("timeout", 0))
                await asyncio.wait_for(self._change.wait_for(waiting), timeout)
            return waiting()

    async def _send(self, chat: int, text: str) -> web.Response:
        if self.refusals:
            self.refusals -= 1
            return _refused(429, "Too Many Requests: retry after 1", {"retry_after": 1})
        async with self._change:
            self.sent.append((chat, text))
            self._change.notify_all()
        message = {"message_id": 1, "date": 0, "chat": {"id": chat, "type": "private"}}
        return _accepted({**message, "text": text})


def _accepted(result: object) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def _refused(code: int, why: str, parameters: dict[str, int] | None = None) -> web.Response:
    body = {"ok": False, "error_code": code, "description": why}
    return web.json_response(body | ({"parameters": parameters} if parameters else {}), status=code)


class Bot:
    """The bot's process."""

    def __init__(self, checkout: Path, environment: dict[str, str]) -> None:
        self._checkout = checkout
        self._environment = environment
        self.log = ""
        self.status: int | None = None

    @contextlib.asynccontextmanager
    async def running(
        self, *options: str, token: str = TOKEN, stopped_by: int | None = signal.SIGTERM
    ) -> AsyncIterator[BotApi]:
        """The stand-in, with the bot connected to it; the bot is stopped behind it."""
        api = BotApi()
        runner = web.AppRunner(api.application(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.interview_bot", "telegram", *options),
            *("--api", f"http://{host}:{port}"),
            cwd=self._checkout,
            env={**self._environment, "TELEGRAM_BOT_TOKEN": token},
            stderr=asyncio.subprocess.PIPE,
        )
        ended = asyncio.create_task(process.communicate())
        try:
            yield api
            if stopped_by is not None:
                process.send_signal(stopped_by)
            await asyncio.wait_for(asyncio.shield(ended), 40)
        finally:
            if process.returncode is None:
                process.kill()
            self.log = (await ended)[1].decode()
            self.status = process.returncode
            await runner.cleanup()


@pytest.fixture
def bot(checkout: Path, environment: dict[str, str]) -> Bot:
    return Bot(checkout, environment)


def test_two_people_at_once_with_the_real_model(bot: Bot) -> None:
    async def scene() -> BotApi:
        async with bot.running("--questions", "3", "--timeout", "60") as api:
            api.refusals = 1  # the first message is asked for more slowly
            await api.write(ADA, "/start")
            await api.write(BOB, "/start@test_bot")
            for person in (ADA, BOB):
                await api.receives(person, "What is your name?")
            await api.write(ADA, "Ada")
            await api.write(BOB, None)
            await api.receives(BOB, "What shall I call you?")
            await api.write(BOB, "Bob")
            for person, name in ((ADA, "Ada"), (BOB, "Bob")):
                await api.receives(person, f"Nice to meet you, {name}.")
                await api.receives(person, "(1/3) What is the piece of work")
            await api.write(ADA, "I tuned the indexes of a large PostgreSQL table.")
            await api.write(BOB, "I fixed a deadlock between two threads.")
            await api.receives(ADA, "(2/3) On databases: ")
            await api.receives(BOB, "(2/3) On concurrency: ")
            await api.write(ADA, "/start")  # in the middle; Bob's goes on
            await api.receives(ADA, "What is your name?")
            await api.write(BOB, "We had many flaky unit tests and threw them away.")
            await api.receives(BOB, "(3/3) On testing: ")
            await api.write(ADA, "/stop")
            await api.receives(ADA, "Stopped. Goodbye.")
            await api.write(BOB, "Nothing else.")
            await api.receives(
                BOB, "Thank you, Bob. We spoke about projects, concurrency, testing."
            )
            await api.write(-303, "/start", kind="group")
            await api.write(BOB, "Bye!")
            await api.receives(BOB, "This interview is over.")
            return api

    api = asyncio.run(scene())
    assert [text for _, text in api.sent if not text.startswith("Hello!")] == []
    assert {chat for chat, _ in api.sent} == {ADA, BOB}  # a group is not answered
    assert set(api.methods) == {"getMe", "deleteWebhook", "getUpdates", "sendMessage"}
    assert bot.status == 0
    assert f"chat {ADA}: asking with context on databases" in bot.log
    assert TOKEN not in bot.log


def test_a_model_that_does_not_get_ready(bot: Bot) -> None:
    async def scene() -> None:
        async with bot.running("--model", NEVER_READY, stopped_by=signal.SIGKILL) as api:
            await api.write(ADA, "/start")
            await api.receives(ADA, "What is your name?")
            named = await api.write(ADA, "Ada")
            await api.receives(ADA, "(1/6)")
            assert time.monotonic() - named < 3
            answered = await api.write(ADA, "I tuned the indexes of a large PostgreSQL table.")
            await api.write(ADA, "And its vacuum.")  # is the rest of that answer
            await api.write(BOB, "hello")
            await api.receives(BOB, "What is your name?")
            assert time.monotonic() - answered < 2.5  # Ada's wait is hers alone
            question = await api.receives(ADA, "(2/6)", within=6)
            assert time.monotonic() - answered < 6
            assert not question.startswith("(2/6) On ")
            answered = await api.write(ADA, "Then I left.")
            await api.write(ADA, "/start")
            await api.receives(ADA, "What is your name?")
            assert time.monotonic() - answered < 2.5
            assert not [text for _, text in api.sent if text.startswith("(3/6)")]

    asyncio.run(scene())
    # Killed, not ended: at its end hotstart waits for a load that is under way.
    assert f"chat {ADA}: asking without context: the model is not ready" in bot.log


def test_tokens_that_cannot_be_used(checkout: Path, environment: dict[str, str]) -> None:
    says = {
        "": "TELEGRAM_BOT_TOKEN is not set",
        "no token": "does not hold a bot token",
        "123456:another": "Unauthorized",
    }
    bots = {token: Bot(checkout, environment) for token in says}

    async def begin(token: str) -> None:
        options = ("--model", "fake:dimension=384")
        async with bots[token].running(*options, token=token, stopped_by=None) as api:
            pass
        assert api.methods == []

    async def scene() -> None:
        await asyncio.gather(*map(begin, says))

    asyncio.run(scene())
    assert [bot.status for bot in bots.values()] == [2, 2, 2]
    for token, bot in bots.items():
        assert says[token] in bot.log
        assert "Traceback" not in bot.log
