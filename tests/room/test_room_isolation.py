"""A room: what one learner's kernel and token reach of another's files, processes and server. Nothing; and of their own, all."""

import asyncio
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from tornado.httpclient import AsyncHTTPClient

from tools.room.browser import Browser, Refused

pytestmark = pytest.mark.slow
A, B = "course-test-a", "course-test-b"
KERNEL = """
import json, os, pathlib
def tried(what):
    try:
        what()
    except (PermissionError, ProcessLookupError) as error:
        return type(error).__name__
    return "done"
"""
FILES = KERNEL + "print(json.dumps({path: tried(lambda: open(path).read(1)) for path in %r}))"
FOLDERS = KERNEL + "print(json.dumps({path: tried(lambda: os.listdir(path)) for path in %r}))"
SIGNALS = KERNEL + "print(json.dumps({str(pid): tried(lambda: os.kill(pid, 0)) for pid in %r}))"
SELF = "import json, os; print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(), os.environ['JUPYTERHUB_API_TOKEN']]))"
RIGHTS = KERNEL + "print(json.dumps([tried(lambda: os.setuid(0)), tried(lambda: os.setgroups([0]))]))"


@pytest.fixture(scope="module")
def loop():
    """One event loop for the module: the browsers' connections belong to it."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def inside(room, loop):
    """Both learners' browsers, each with an open lesson, and the numbers of each one's processes."""

    async def enter():
        browsers = {name: Browser(room.url, name) for name in (A, B)}
        for name, browser in browsers.items():
            await browser.server(await browser.log_in(f"password of {name}"))
        lessons = {name: await browser.lesson(await first(browser)) for name, browser in browsers.items()}
        return browsers, lessons

    browsers, lessons = loop.run_until_complete(enter())
    uids = {name: Path(room.homes, name).stat().st_uid for name in (A, B)}
    pids = {name: owned_by(uid) for name, uid in uids.items()}
    assert all(len(found) >= 2 for found in pids.values()), "a server and a kernel each"
    return SimpleNamespace(browsers=browsers, lessons=lessons, uids=uids, pids=pids)


async def first(browser):
    """Return the path of a learner's lesson 00."""
    found = await browser.api("contents/is-it-on-the-gpu/my_course/lessons")
    return min(item["path"] for item in found["content"])


def owned_by(uid):
    """Return the processes of a user."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if path.stat().st_uid == uid]


def said(loop, lesson, code):
    """Run a cell, and return what it printed as JSON."""
    assert loop.run_until_complete(lesson.run(code)) == []
    return json.loads(lesson.printed)


def test_each_is_a_user_without_further_rights_and_with_a_closed_home(inside, loop, room):
    assert inside.uids[A] != inside.uids[B] and 0 not in inside.uids.values()
    for name in (A, B):
        users, groups, further, _ = said(loop, inside.lessons[name], SELF)
        assert set(users) == {inside.uids[name]} and 0 not in [*groups, *further]
        assert said(loop, inside.lessons[name], RIGHTS) == ["PermissionError", "PermissionError"]
        assert stat.S_IMODE(Path(room.homes, name).stat().st_mode) == 0o700


def test_files_of_another_and_of_the_hub_are_closed(inside, loop, room):
    own, other = (f"{room.homes}/{name}/is-it-on-the-gpu/my_course/.made.json" for name in (A, B))
    kept = [str(path) for path in Path(room.folder).iterdir() if path.is_file()]
    assert {Path(path).name for path in kept} >= {"settings.json", "cookie_secret", "jupyterhub.sqlite"}
    found = said(loop, inside.lessons[A], FILES % [own, other, *kept])
    assert found.pop(own) == "done"
    assert set(found.values()) == {"PermissionError"}, found
    found = said(loop, inside.lessons[A], FOLDERS % [f"{room.homes}/{A}", f"{room.homes}/{B}", room.folder])
    assert list(found.values()) == ["done", "PermissionError", "PermissionError"]


def test_processes_of_another_and_of_the_hub_are_closed(inside, loop):
    secret = ("environ", "mem", "maps")
    own = [f"/proc/{pid}/environ" for pid in inside.pids[A]]
    assert set(said(loop, inside.lessons[A], FILES % own).values()) == {"done"}
    hubs = [pid for pid in owned_by(0) if b"jupyterhub" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert hubs
    others = [f"/proc/{pid}/{name}" for pid in [*inside.pids[B], *hubs] for name in secret]
    assert set(said(loop, inside.lessons[A], FILES % others).values()) == {"PermissionError"}
    assert set(said(loop, inside.lessons[A], SIGNALS % inside.pids[B]).values()) == {"PermissionError"}


def test_what_servers_are_forked_from_has_one_thread(inside, room):
    if not room.forked:
        pytest.skip("servers are started anew here")
    preloaded = [
        path.parent
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"tools.room.learner" in path.read_bytes()
    ]
    roots = [
        path
        for path in preloaded
        if b"COURSE" not in (path / "environ").read_bytes() and "\0jupyterhub\0" in parent(path)
    ]
    assert roots and all("Threads:\t1\n" in (path / "status").read_text() for path in roots)


def parent(process):
    """Return the command line of a process's parent."""
    number = (process / "status").read_text().split("PPid:\t")[1].split()[0]
    return Path("/proc", number, "cmdline").read_text()


def test_no_secret_stands_in_a_command_line(inside, loop):
    token = said(loop, inside.lessons[A], SELF)[3]
    shown = b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline"))
    assert len(token) > 20 and token.encode() not in shown


def test_the_server_of_another_takes_neither_cookies_nor_token(inside, loop, room):
    token = said(loop, inside.lessons[A], SELF)[3]

    async def codes(address, name, path="/user/{}/api/contents"):
        headers = {"Authorization": f"token {token}"}
        url = address + path.format(name)
        return (await AsyncHTTPClient().fetch(url, headers=headers, raise_error=False)).code

    ports = {name: listening(inside.pids[name]) for name in (A, B)}
    assert all(ports.values())
    for address in (room.url, f"http://127.0.0.1:{ports[A]}"):
        assert loop.run_until_complete(codes(address, A)) == 200, "the token is good for one's own"
    for address in (room.url, f"http://127.0.0.1:{ports[B]}"):
        assert loop.run_until_complete(codes(address, B)) == 403
    with pytest.raises(Refused, match="403"):
        loop.run_until_complete(Browser(room.url, B, inside.browsers[A].jar).api("contents"))
    assert loop.run_until_complete(codes(room.url, A, "/hub/api/users/{}")) == 200
    assert loop.run_until_complete(codes(room.url, B, "/hub/api/users/{}")) == 404


def listening(pids):
    """Return the port on which a learner's server answers: of all that their processes listen on, the one the hub knows."""
    import psutil

    for pid in pids:
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.status == "LISTEN":
                return connection.laddr.port
    return None


def test_another_name_or_password_does_not_enter(inside, loop, room):
    for name, password in [
        (A, "another password"),
        ("root", "password"),
        ("nobody-known", "password"),
        (A, "x" * 73),
    ]:
        with pytest.raises(Refused, match="the login was answered 403"):
            loop.run_until_complete(Browser(room.url, name).log_in(password))


def test_work_is_there_again_after_the_server_ended(inside, loop, room):
    path = f"{room.homes}/{B}/is-it-on-the-gpu/my_course/mine.txt"
    assert loop.run_until_complete(inside.lessons[B].run(f"open({path!r}, 'w').write('mine')")) == []

    async def again():
        answer = await inside.browsers[B].ask(f"/hub/api/users/{B}/server", "DELETE")
        assert answer.code in (202, 204)
        for _ in range(100):
            if not owned_by(inside.uids[B]):
                break
            await asyncio.sleep(0.2)
        assert not owned_by(inside.uids[B]), "all of the learner's processes ended with the server"
        browser = Browser(room.url, B)
        await browser.server(await browser.log_in(f"password of {B}"))
        return await browser.api("contents/is-it-on-the-gpu/my_course/mine.txt")

    assert loop.run_until_complete(again())["content"] == "mine"
    assert os.stat(path).st_uid == inside.uids[B]
