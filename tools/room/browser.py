"""A learner's browser without a screen: log in, start a server, open a lesson and run its cells, over HTTP and a websocket."""

import asyncio
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketClientConnection, websocket_connect

XSRF = re.compile(r'name="_xsrf"\s+value="([^"]*)"')
SCRIPT = re.compile(r'<script[^>]* src="([^"]+)"')
REDIRECTS = 20
SECONDS = 300.0  # for one answer


class Refused(Exception):
    """What the hub or a server did not do."""


@dataclass
class Browser:
    """One learner's cookies, and what was asked with them."""

    base: str
    name: str
    jar: dict[str, dict[str, str]] = field(default_factory=dict)  # by the path they are for

    def cookies(self, url: str) -> dict[str, str]:
        """Return the cookies that a browser sends to this address; those of longer paths count more."""
        path, found = urlsplit(url).path, {}
        for prefix in sorted(self.jar, key=len):
            if path.startswith(prefix):
                found.update(self.jar[prefix])
        return found

    async def ask(self, url: str, method: str = "GET", data: Any = None, **headers: str) -> HTTPResponse:
        """Send a request, follow where the answer leads, and return the last answer."""
        url = urljoin(self.base, url)
        for _ in range(REDIRECTS):
            cookies = self.cookies(url)
            sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), **headers}
            if "_xsrf" in cookies:
                sent["X-XSRFToken"] = cookies["_xsrf"]
            request = HTTPRequest(
                url, method, sent, data, follow_redirects=False, request_timeout=SECONDS, connect_timeout=SECONDS,
                allow_nonstandard_methods=True, decompress_response=False,
            )  # fmt: skip
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
            self.keep(answer)
            if answer.code not in (301, 302, 303):
                return answer
            url, method, data, headers = urljoin(url, answer.headers["Location"]), "GET", None, {}
        raise Refused(f"{url} led in a circle")

    def keep(self, answer: HTTPResponse) -> None:
        """Keep the cookies of an answer."""
        for line in answer.headers.get_list("Set-Cookie"):
            for cookie in SimpleCookie(line).values():
                self.jar.setdefault(cookie["path"] or "/", {})[cookie.key] = cookie.value

    async def log_in(self, password: str) -> HTTPResponse:
        """Log in as a person does, and return the page that comes: the server's, or the one that waits for it."""
        page = await self.ask("/hub/login")
        found = XSRF.search(page.body.decode())
        if not found:
            raise Refused(f"the login page answered {page.code}")
        form = {"username": self.name, "password": password, "_xsrf": found[1]}
        answer = await self.ask(
            "/hub/login?next=%2Fhub%2Fspawn", "POST", urlencode(form),
            **{"Content-Type": "application/x-www-form-urlencoded"},
        )  # fmt: skip
        if answer.code != 200 or "/hub/login" in answer.effective_url:
            raise Refused(f"the login was answered {answer.code}")
        return answer

    async def server(self, page: HTTPResponse) -> HTTPResponse:
        """Wait for the learner's server, fetch the scripts that its page names, and return the page."""
        ends = time.monotonic() + SECONDS
        while f"/user/{self.name}/" not in page.effective_url or page.code != 200:
            if time.monotonic() > ends or page.code >= 500:
                raise Refused(f"the server did not come: {page.code} {page.effective_url}")
            await asyncio.sleep(1)
            page = await self.ask(f"/hub/spawn-pending/{self.name}")
        for script in SCRIPT.findall(page.body.decode()):
            await self.ask(urljoin(page.effective_url, script))
        return page

    async def api(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Return what the learner's server answers."""
        data = None if body is None else json.dumps(body)
        answer = await self.ask(f"/user/{self.name}/api/{path}", method, data)
        if answer.code >= 400:
            raise Refused(f"{method} {path} was answered {answer.code}")
        return json.loads(answer.body or "null")

    async def lesson(self, path: str) -> "Lesson":
        """Open a notebook with a kernel of its own, as JupyterLab does."""
        notebook = (await self.api(f"contents/{quote(path)}"))["content"]
        asked = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        kernel = (await self.api("sessions", "POST", asked))["kernel"]["id"]
        url = f"{self.base.replace('http', 'ws', 1)}/user/{self.name}/api/kernels/{kernel}/channels"
        cookies = "; ".join(
            f"{name}={value}" for name, value in self.cookies(url.replace("ws", "http", 1)).items()
        )
        channel = await websocket_connect(
            HTTPRequest(url, headers={"Cookie": cookies}, connect_timeout=SECONDS, request_timeout=SECONDS),
            max_message_size=1 << 28,
        )
        sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        return Lesson(self, kernel, channel, [source for source in sources if source.strip()])


@dataclass
class Lesson:
    """An open notebook: its kernel, the way to it, and the sources of its code cells."""

    browser: Browser
    kernel: str
    channel: WebSocketClientConnection
    sources: list[str]
    printed: str = ""  # by the last cell

    async def run(self, source: str) -> list[str]:
        """Run a cell, and return a sentence for each error that came."""
        asked = uuid.uuid4().hex
        header = {
            "msg_id": asked,
            "msg_type": "execute_request",
            "username": "",
            "session": asked,
            "version": "5.3",
        }
        content = {
            "code": source,
            "silent": False,
            "store_history": True,
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
        }
        await self.channel.write_message(json.dumps(message | {"buffers": []}))
        errors, waits, self.printed = [], {"reply", "idle"}, ""
        while waits:
            got = await asyncio.wait_for(self.channel.read_message(), SECONDS)
            if got is None:
                raise Refused("the websocket was closed")
            if isinstance(got, bytes):
                continue  # a picture's buffers; what they belong to is told in text
            told = json.loads(got)
            if told["parent_header"].get("msg_id") != asked:
                continue
            if told["msg_type"] == "stream":
                self.printed += told["content"]["text"]
            if told["msg_type"] == "error":
                errors.append(f"{told['content']['ename']}: {told['content']['evalue']}".splitlines()[0])
            if told["msg_type"] == "execute_reply":
                waits.discard("reply")
            if told["msg_type"] == "status" and told["content"]["execution_state"] == "idle":
                waits.discard("idle")
        return errors

    async def close(self) -> None:
        """Shut the kernel down, as each lesson asks at its end."""
        self.channel.close()
        await self.browser.api(f"kernels/{self.kernel}", "DELETE")
