"""The proxy of the hub: PyPI's configurable-http-proxy 0.4.0, with what it lacks for a room.

Tried against npm's 5.3.0, it took no more of the processor and half the memory, and it comes by pip; npm's wants Node.js 22.
But it serves no TLS (options that it takes and passes over), forwards at most ten requests at a time, and each only when its
answer is complete, names every request http, turns a websocket's bytes into text, leaves a browser's websocket open when the
server's has closed, and passes no message above 10 MB. JupyterHub starts this module by `ConfigurableHTTPProxy.command`.
"""

import argparse
import logging
import os
import ssl
from contextlib import suppress
from typing import Any

from configurable_http_proxy import log
from configurable_http_proxy.configproxy import PythonProxy
from configurable_http_proxy.handlers import ProxyHandler
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, parse_response_start_line
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.iostream import StreamClosedError
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, websocket_connect

LARGEST = 512 << 20  # bytes of a message or of an upload
AT_ONCE = 1000  # requests: each browser holds several that wait for news
HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
}  # for one connection alone
SHAKEN = ("Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", "Connection", "Upgrade")


class Forward(ProxyHandler):
    """Forward a request to the hub or a learner's server, and its answer piece by piece."""

    def _get_proxy_request(self, url: str) -> HTTPRequest:
        """Return the request as the server gets it: who asked, and by which protocol, is what this proxy saw."""
        request = super()._get_proxy_request(url)
        headers = HTTPHeaders(self.request.headers)
        headers["X-Forwarded-For"] = self.request.remote_ip
        headers["X-Forwarded-Proto"] = self.request.protocol
        headers["X-Forwarded-Host"] = self.request.host
        for name in ("X-Scheme", "X-Forwarded-Port", "Forwarded"):  # else a browser could say otherwise
            headers.pop(name, None)
        request.headers = headers
        request.decompress_response = False
        request.request_timeout = 0  # a page that waits for news waits as long as it likes
        return request

    async def call_proxy(self, path: str | None = None) -> None:
        """Forward what is no websocket."""
        url = await self.get_target_url(path)
        if url is None:
            return
        request, head = self._get_proxy_request(url), Head()

        async def piece(data: bytes) -> None:
            head.give(self)
            self.write(data)
            await self.flush()

        request.header_callback, request.streaming_callback = head.line, piece
        try:
            await AsyncHTTPClient().fetch(request, raise_error=False)
        except StreamClosedError:
            if self.request.connection.stream.closed():  # type: ignore[union-attr] # the browser went away
                return
            raise
        except Exception as error:
            if head.given:
                raise
            await self.handle_proxy_error(503, error)
            return
        head.give(self)
        self.finish()

    async def start_ws_client(self, path: str | None = None) -> None:
        """Open the way to the server's websocket; when it closes, so does the browser's."""
        self.closed = False
        url = await self.get_target_url(path)
        if url is None:
            return
        request = self._get_proxy_request(url.replace("http", "ws", 1))
        for name in SHAKEN:
            request.headers.pop(name, None)
        asked = self.request.headers.get("Sec-Websocket-Protocol", "")
        request.headers.pop("Sec-Websocket-Protocol", None)
        try:
            self.ws_client = await websocket_connect(
                request,
                on_message_callback=self.from_server,
                max_message_size=LARGEST,
                subprotocols=[word.strip() for word in asked.split(",") if word.strip()] or None,
            )
        except Exception as error:
            code = getattr(error, "code", None)
            if isinstance(code, int):  # the server said no
                self.set_status(code)
                self.finish()
                return
            await self.handle_proxy_error(503, error)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Return the one that the server chose."""
        return self.ws_client.selected_subprotocol if self.ws_client else None

    def on_message(self, message: str | bytes) -> None:
        """Pass on what the browser sends, bytes as bytes."""
        if self.ws_client:
            self.proxy.update_last_activity(self.target["prefix"])
            with suppress(WebSocketClosedError):  # the server went first, and the browser hears of it
                self.ws_client.write_message(message, binary=isinstance(message, bytes))

    def from_server(self, message: str | bytes | None) -> None:
        """Pass on a message, or the end."""
        if message is None:
            self.close()
        elif self.ws_client and not self.closed:
            self.proxy.update_last_activity(self.target["prefix"])
            with suppress(WebSocketClosedError):
                self.write_message(message, binary=isinstance(message, bytes))


class Head:
    """The first lines of a server's answer, given on before its first piece."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.given = False

    def line(self, text: str) -> None:
        """Keep a line; those of an interim answer are followed by another's."""
        if text.startswith("HTTP/"):
            self.lines.clear()
        self.lines.append(text)

    def give(self, handler: Any) -> None:
        """Set status and headers of the handler's answer, once."""
        if self.given:
            return
        self.given = True
        start = parse_response_start_line(self.lines[0].strip())
        handler.clear()
        handler.set_status(start.code, start.reason)
        for name, value in HTTPHeaders.parse("".join(self.lines[1:])).get_all():
            if name.lower() in HOP:
                continue
            add = handler.set_header if name in ("Server", "Content-Type", "Date") else handler.add_header
            add(name, value)


def application(proxy: PythonProxy) -> Application:
    """Return what answers the browsers."""
    return Application([(r"/(.*)", Forward, {"proxy": proxy})], websocket_max_message_size=LARGEST)


def tls(key: str | None, certificate: str | None) -> ssl.SSLContext | None:
    """Return the context of a TLS server, or None where no key is given."""
    if not key or not certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def main() -> None:
    """Serve with the options that JupyterHub gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("ip", "api-ip", "error-target", "log-level", "ssl-key", "ssl-cert"):
        parser.add_argument(f"--{name}")
    for name in ("port", "api-port"):
        parser.add_argument(f"--{name}", type=int)
    given = parser.parse_args()
    AsyncHTTPClient.configure(None, max_clients=AT_ONCE, max_body_size=1 << 40)
    logging.getLogger("tornado.general").setLevel(logging.ERROR)  # each browser that distrusts a certificate
    log.setLevel((given.log_level or "info").upper())
    token = os.environ["CONFIGPROXY_AUTH_TOKEN"]
    proxy = PythonProxy(
        {"log": log, "auth_token": token, "error_target": given.error_target, "x_forward": False}
    )
    context = tls(given.ssl_key, given.ssl_cert)
    HTTPServer(application(proxy), ssl_options=context, max_body_size=LARGEST).listen(given.port, given.ip)
    HTTPServer(proxy.api_app).listen(given.api_port, given.api_ip)
    hub = os.getppid()

    def end_with_the_hub() -> None:
        if os.getppid() != hub:  # it was killed
            IOLoop.current().stop()

    PeriodicCallback(end_with_the_hub, 1000).start()
    IOLoop.current().start()


if __name__ == "__main__":
    main()
