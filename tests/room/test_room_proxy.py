"""The proxy: what PyPI's lacks for a room is there, each tried on a server of the test's own."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from tools.room.spawner import free_port
from tools.setup.say import ROOT

BIG = 11 << 20  # more than tornado passes by itself


class Seen(RequestHandler):
    """Answer with what came."""

    def get(self):
        """Return the headers, and two cookies."""
        self.add_header("Set-Cookie", "a=1")
        self.add_header("Set-Cookie", "b=2")
        self.write(dict(self.request.headers))

    def post(self):
        """Return how much came."""
        self.set_status(201)
        self.write(str(len(self.request.body)))


class Slow(RequestHandler):
    """Answer in two pieces, the second when the test allows it."""

    go: asyncio.Event

    async def get(self):
        """Send a piece, wait, and send the other."""
        self.write("first")
        await self.flush()
        await self.go.wait()
        self.write("second")


class Echo(WebSocketHandler):
    """Send back what comes; "end" closes."""

    def select_subprotocol(self, subprotocols):
        """Take the second that is offered."""
        return subprotocols[1] if len(subprotocols) > 1 else None

    def on_message(self, message):
        """Send it back as it came."""
        if message == "end":
            self.close()
        else:
            self.write_message(message, binary=isinstance(message, bytes))


def proxied(use, *options, scheme="http"):
    """Start a server and a proxy before it, and run `use(address)`."""
    port, api, back = free_port(), free_port(), free_port()
    command = [sys.executable, "-m", "tools.room.proxy", "--ip", "127.0.0.1", "--port", str(port), "--api-ip"]
    command += ["127.0.0.1", "--api-port", str(api), "--log-level", "error", *options]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"CONFIGPROXY_AUTH_TOKEN": "secret"})

    async def run():
        Slow.go = asyncio.Event()
        AsyncHTTPClient.configure(None, max_clients=100, max_body_size=1 << 30)
        limits = {"websocket_max_message_size": 1 << 30}
        server = HTTPServer(Application([("/seen", Seen), ("/slow", Slow), ("/echo", Echo)], **limits))
        server.listen(back, "127.0.0.1")
        await listens(api)
        told = HTTPRequest(
            f"http://127.0.0.1:{api}/api/routes/", "POST", {"Authorization": "token secret"},
            json.dumps({"target": f"http://127.0.0.1:{back}"}),
        )  # fmt: skip
        assert (await AsyncHTTPClient().fetch(told)).code == 201
        await asyncio.wait_for(use(f"{scheme}://127.0.0.1:{port}"), 60)

    try:
        asyncio.run(run())
    finally:
        process.terminate()
        process.wait()


async def listens(port):
    """Wait until somebody listens."""
    for _ in range(300):
        if answers(port):
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("the proxy did not start")


def test_requests_answers_and_websockets():
    async def use(base):
        client = AsyncHTTPClient()
        lied = {
            "X-Forwarded-Proto": "https",
            "X-Scheme": "https",
            "X-Forwarded-For": "10.0.0.1",
            "Forwarded": "proto=https",
        }
        answer = await client.fetch(base + "/seen", headers=lied)
        headers = json.loads(answer.body)
        assert answer.headers.get_list("Set-Cookie") == ["a=1", "b=2"]
        assert (headers["X-Forwarded-Proto"], headers["X-Forwarded-For"]) == ("http", "127.0.0.1")
        assert not {"X-Scheme", "Forwarded"} & set(headers)
        big = await client.fetch(base + "/seen", method="POST", body=b"x" * BIG)
        assert (big.code, big.body) == (201, str(BIG).encode())
        assert (await client.fetch(base + "/none", raise_error=False)).code == 404
        await pieces(base)
        await sockets(base.replace("http", "ws"))

    proxied(use)


async def pieces(base):
    """A first piece is passed on before there is a second, to more browsers than ten."""
    came = asyncio.Queue()
    asked = [
        AsyncHTTPClient().fetch(HTTPRequest(base + "/slow", streaming_callback=came.put_nowait))
        for _ in range(15)
    ]
    waiting = asyncio.gather(*asked)
    assert [await asyncio.wait_for(came.get(), 20) for _ in asked] == [b"first"] * 15
    Slow.go.set()
    await waiting
    assert [came.get_nowait() for _ in asked] == [b"second"] * 15


async def sockets(base):
    """Text stays text, bytes stay bytes, the subprotocol is the server's choice, and an end is passed on."""
    way = await websocket_connect(base + "/echo", subprotocols=["one", "two"], max_message_size=1 << 30)
    assert way.selected_subprotocol == "two"
    for message in ("text", b"bytes", b"x" * BIG):
        await way.write_message(message, binary=isinstance(message, bytes))
        assert await way.read_message() == message
    await way.write_message("end")
    assert await way.read_message() is None


def test_with_a_key_it_speaks_tls_and_says_so(tmp_path):
    key, cert = certificate(tmp_path)

    async def use(base):
        context = ssl.create_default_context(cafile=cert)
        answer = await AsyncHTTPClient().fetch(HTTPRequest(base + "/seen", ssl_options=context))
        assert json.loads(answer.body)["X-Forwarded-Proto"] == "https"
        with pytest.raises(Exception, match=r"closed|reset|empty"):
            await AsyncHTTPClient().fetch(base.replace("https", "http") + "/seen")

    proxied(use, "--ssl-key", str(key), "--ssl-cert", str(cert), scheme="https")


def certificate(folder):
    """Return a key and a certificate for 127.0.0.1."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(secret, hashes.SHA256())
    )  # fmt: skip
    key, cert = folder / "key.pem", folder / "cert.pem"
    plain = serialization.NoEncryption()
    key.write_bytes(
        secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key, cert


def test_it_ends_when_the_hub_was_killed():
    code = f"""
import os, subprocess, sys, time
ports = {free_port()}, {free_port()}
command = [sys.executable, "-m", "tools.room.proxy", "--ip", "127.0.0.1", "--port", str(ports[0]), "--api-ip", "127.0.0.1"]
subprocess.Popen([*command, "--api-port", str(ports[1])], env=os.environ | {{"CONFIGPROXY_AUTH_TOKEN": "x"}})
print(ports[0], flush=True)
time.sleep(600)
"""
    hub = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    port = int(hub.stdout.readline())
    asyncio.run(listens(port))
    hub.kill()
    hub.wait()
    for _ in range(200):
        if not answers(port):
            return
        asyncio.run(asyncio.sleep(0.1))
    raise AssertionError("the proxy is still there")


def answers(port):
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
