"""The hub's configuration as JupyterHub reads it, and who may enter."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from types import SimpleNamespace

from tools.room import config, settings, spawner
from tools.room.login import LearnerAuthenticator
from tools.room.settings import Settings
from tools.setup.say import ROOT

READ = """
import json
from jupyterhub.app import JupyterHub
app = JupyterHub()
app.load_config_file("workshop/jupyterhub_config.py")
app.config_file = "workshop/jupyterhub_config.py"
print(json.dumps([app.bind_url, app.hub_bind_url, app.db_url, app.ssl_key, str(app.authenticator_class), str(app.spawner_class),
    {name: dict(section) for name, section in app.config.items()}], default=str))
"""


def made(tmp_path, **more):
    """Return settings that are kept in a folder."""
    given = {
        "mode": "demo",
        "folder": str(tmp_path),
        "homes": str(tmp_path / "homes"),
        "shared": sys.prefix,
        "forked": False,
    }
    kept = Settings(**given | more)
    kept.write()
    return kept


def read(tmp_path):
    """Return what JupyterHub reads of the configuration."""
    variables = os.environ | {settings.VARIABLE: str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_demonstration(tmp_path):
    made(tmp_path, password="swordfish", port=8123)
    bind, inner, base, key, who, how, sections = read(tmp_path)
    assert bind.startswith("http://127.0.0.1:8123") and inner.startswith("http://127.0.0.1:") and not key
    assert str(tmp_path) in base and "Dummy" in who and "LearnerSpawner" in how
    assert sections["DummyAuthenticator"]["password"] == "swordfish"
    assert not sections["LearnerSpawner"]["system_users"]


def test_a_room(tmp_path):
    made(
        tmp_path,
        mode="room",
        learners=("anna", "bert"),
        admin="carl",
        key="/k.pem",
        certificate="/c.pem",
        listen="0.0.0.0",
    )
    bind, _, _, key, who, _, sections = read(tmp_path)
    assert bind.startswith("https://0.0.0.0:8000") and key == "/k.pem"
    assert "LearnerAuthenticator" in who and sections["LearnerSpawner"]["system_users"]
    assert set(
        sections["LearnerAuthenticator"]["allowed_users"].strip("{}").replace("'", "").split(", ")
    ) == {"anna", "bert"}
    assert "carl" in sections["Authenticator"]["admin_users"]


def test_settings_are_for_their_owner_alone(tmp_path):
    kept = made(tmp_path, learners=("anna",))
    assert stat.S_IMODE((tmp_path / settings.FILE).stat().st_mode) == 0o600
    assert settings.read(tmp_path) == kept


def test_the_login_page_says_what_a_demonstration_is(tmp_path):
    assert "one user of this machine" in config.announcement(made(tmp_path))
    assert "the password" in config.announcement(made(tmp_path, password="x"))
    assert "will be yours" in config.announcement(made(tmp_path, mode="room"))


def enter(tmp_path, name, password):
    """Try to log in to a room of anna; return the name, or the sentence that the page says."""
    door = LearnerAuthenticator(allowed_users={"anna"}, dbm_path=str(tmp_path / "passwords.dbm"))
    page = SimpleNamespace(custom_login_error="")
    found = asyncio.run(door.authenticate(page, {"username": name, "password": password}))
    return found or page.custom_login_error


def test_the_first_password_counts_and_only_for_names_of_the_list(tmp_path):
    assert "too short" in enter(tmp_path, "anna", "short")
    assert enter(tmp_path, "anna", "long enough") == "anna"
    assert enter(tmp_path, "anna", "something else") == ""
    assert enter(tmp_path, "Anna", "long enough") == "anna"
    assert "not on this room's list" in enter(tmp_path, "root", "long enough")
    for password in ("x" * 73, "é" * 40, "nul\0 inside"):
        assert "at most" in enter(tmp_path, "anna", password)


def test_who_was_deleted_chooses_a_password_anew(tmp_path):
    assert enter(tmp_path, "anna", "long enough") == "anna"
    LearnerAuthenticator(dbm_path=str(tmp_path / "passwords.dbm")).delete_user(SimpleNamespace(name="anna"))
    assert enter(tmp_path, "anna", "something else") == "anna"


def test_what_servers_are_forked_from_knows_none_of_the_hubs_secrets(monkeypatch):
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert set(spawner.variables()) <= {"LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "PATH", "OMP_NUM_THREADS"}


def test_jupyterlab_is_found_where_the_environment_took_it_over(tmp_path, monkeypatch):
    own, base = tmp_path / "own", tmp_path / "base"
    (base / "share" / "jupyter" / "lab" / "static").mkdir(parents=True)
    monkeypatch.setattr(config, "BASES", (str(base),))
    monkeypatch.setattr(config.sys, "base_prefix", str(tmp_path))
    assert config.places(own)["JUPYTERLAB_DIR"] == str(base / "share" / "jupyter" / "lab")
    assert str(own / "share" / "jupyter") in config.places(own)["JUPYTER_PATH"].split(os.pathsep)
    (own / "share" / "jupyter" / "lab" / "static").mkdir(parents=True)
    assert config.places(own)["JUPYTERLAB_DIR"] == str(own / "share" / "jupyter" / "lab")
    monkeypatch.setattr(config, "BASES", ())
    assert "JUPYTERLAB_DIR" not in config.places(tmp_path / "none")
