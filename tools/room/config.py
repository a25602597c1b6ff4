"""The hub's configuration, from its settings: workshop/jupyterhub_config.py calls it."""

import os
import sys
from pathlib import Path
from typing import Any

from tools.room.accounts import NAME
from tools.room.learner import first_page, server_options
from tools.room.login import LearnerAuthenticator
from tools.room.settings import Settings
from tools.room.spawner import LearnerSpawner, free_port
from tools.setup.lab import CONFIG

DEMO = "A demonstration: whoever knows {what} can enter as anyone, and all servers run as one user of this machine."
ROOM = "Your name is on the list of the room. The password that you give the first time will be yours: 7 characters or more."
BASES = ("/usr/local", "/usr")  # where pip puts the files of packages that a system's Python has
SECONDS = 300  # that a server may take to start where forty start at once


def configure(c: Any, settings: Settings) -> None:
    """Set the hub up as `settings` say."""
    folder = Path(settings.folder)
    hub = c.JupyterHub
    hub.bind_url = settings.url
    hub.hub_bind_url = f"http://127.0.0.1:{free_port()}"
    hub.db_url = f"sqlite:///{folder / 'jupyterhub.sqlite'}"
    hub.cookie_secret_file = str(folder / "cookie_secret")
    hub.upgrade_db = True  # of an older JupyterHub: it keeps a copy
    hub.log_level = "WARN"
    hub.tornado_settings = {
        "slow_spawn_timeout": 2
    }  # the page with the bar comes soon, and leads on by itself
    hub.template_vars = {"announcement_login": announcement(settings)}
    hub.load_roles = []
    if settings.key:
        hub.ssl_key, hub.ssl_cert = settings.key, settings.certificate
    c.ConfigurableHTTPProxy.command = [sys.executable, "-m", "tools.room.proxy"]
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{free_port()}"
    c.ConfigurableHTTPProxy.pid_file = str(folder / "proxy.pid")
    c.ConfigurableHTTPProxy.log_level = "error"
    _servers(c, settings)
    _who(c, settings)


def announcement(settings: Settings) -> str:
    """Return what stands over the login."""
    if settings.mode == "room":
        return ROOM
    return DEMO.format(what="the password" if settings.password else "this address")


def _servers(c: Any, settings: Settings) -> None:
    c.JupyterHub.spawner_class = LearnerSpawner
    spawner = c.LearnerSpawner
    spawner.homes = settings.homes
    spawner.logs = str(Path(settings.folder, "logs"))
    spawner.system_users = settings.mode == "room"
    spawner.forked = settings.forked
    spawner.args = server_options()
    spawner.default_url = first_page()
    spawner.notebook_dir = settings.homes + "/{username}"
    spawner.env_keep = []
    spawner.disable_user_config = True  # a learner who writes a wrong one would be locked out
    spawner.environment = places(Path(settings.shared))
    spawner.start_timeout = spawner.http_timeout = SECONDS
    c.JupyterHub.concurrent_spawn_limit = 0


def places(shared: Path) -> dict[str, str]:
    """Return the variables by which a server finds JupyterLab's files, which lie in the environment that it shares.

    Where that has taken packages over from the Python it was made from, they lie there.
    """
    folders = [shared, Path(sys.base_prefix), *map(Path, BASES)]
    lab = next(
        (found for each in folders if (found := each / "share" / "jupyter" / "lab" / "static").exists()), None
    )
    return {
        "JUPYTER_PATH": os.pathsep.join(str(each / "share" / "jupyter") for each in folders),
        "JUPYTER_CONFIG_PATH": os.pathsep.join(
            [str(CONFIG), *(str(each / "etc" / "jupyter") for each in folders)]
        ),
    } | ({"JUPYTERLAB_DIR": str(lab.parent)} if lab else {})


def _who(c: Any, settings: Settings) -> None:
    if settings.admin:
        c.Authenticator.admin_users = {settings.admin}
    if settings.mode == "demo":
        c.JupyterHub.authenticator_class = "dummy"
        c.DummyAuthenticator.password = settings.password or ""
        c.DummyAuthenticator.allow_all = True
        c.DummyAuthenticator.username_pattern = NAME + r"\Z"
        return
    c.JupyterHub.authenticator_class = LearnerAuthenticator
    c.LearnerAuthenticator.allowed_users = {*settings.learners}
    c.LearnerAuthenticator.dbm_path = str(Path(settings.folder, "passwords.dbm"))
