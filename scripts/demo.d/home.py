"""The running demo, as a client of its web server sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

USER = PASSWORD = "demo"  # noqa: S105  it is printed at every start

type Json = dict[str, Any]


class Home:
    """A Home Assistant and a session in it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        """Talk to the Home Assistant at `url`."""
        self.url = url
        self._session = session
        self.tokens: Json = {}

    async def request(self, method: str, path: str, **more: Any) -> Any:
        """Return the answer to a request; a refusal is an error that quotes it."""
        headers = {}
        if self.tokens:
            headers["Authorization"] = f"Bearer {self.tokens['access_token']}"
        async with self._session.request(
            method, f"{self.url}{path}", headers=headers, **more
        ) as response:
            if not response.ok:
                raise RuntimeError(f"{method} {path}: {await response.text()}")
            return await response.json()

    async def answers(self) -> bool:
        """Whether the web server is up."""
        try:
            await self.request("GET", "/manifest.json")
        except (aiohttp.ClientError, RuntimeError, TimeoutError):
            return False
        return True

    async def log_in(self) -> None:
        """Log in as the demo's user, who is made when there is none yet."""
        client = {"client_id": f"{self.url}/"}
        login = {"username": USER, "password": PASSWORD}
        try:
            onboarding: list[Json] = await self.request("GET", "/api/onboarding")
        except RuntimeError:  # not there any more once it is done
            onboarding = []
        if any(not step["done"] for step in onboarding if step["step"] == "user"):
            user = {"name": "Demo", "language": "en", **login, **client}
            made = await self.request("POST", "/api/onboarding/users", json=user)
            code = made["auth_code"]
        else:
            flow = await self.request(
                "POST",
                "/auth/login_flow",
                json={
                    **client,
                    "handler": ["homeassistant", None],
                    "redirect_uri": f"{self.url}/",
                },
            )
            done = await self.request(
                "POST", f"/auth/login_flow/{flow['flow_id']}", json={**login, **client}
            )
            code = done["result"]
        self.tokens = await self.request(
            "POST",
            "/auth/token",
            data={"grant_type": "authorization_code", "code": code, **client},
        )

    async def log_out(self) -> None:
        """Leave no session behind."""
        await self._session.post(
            f"{self.url}/auth/revoke", data={"token": self.tokens["refresh_token"]}
        )

    async def command(self, kind: str, **more: Any) -> Any:
        """Return the result of a WebSocket command.

        Each has a connection of its own: nobody would answer the pings of an idle one.
        """
        auth = {"type": "auth", "access_token": self.tokens["access_token"]}
        async with self._session.ws_connect(f"{self.url}/api/websocket") as socket:
            await socket.receive_json()
            await socket.send_json(auth)
            await socket.receive_json()
            await socket.send_json({"id": 1, "type": kind, **more})
            answer = await socket.receive_json()
        if not answer["success"]:
            raise RuntimeError(f"{kind}: {answer['error']['message']}")
        return answer["result"]

    async def running(self) -> None:
        """Return when the start is over."""
        while (await self.request("GET", "/api/config"))["state"] != "RUNNING":
            await asyncio.sleep(0.2)


@asynccontextmanager
async def home(url: str) -> AsyncIterator[Home]:
    """A Home Assistant that is there or will be soon."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Home(url, session)
