# The hub of a room. `python3 course.py hub demo` and `... hub room` start JupyterHub with this file.
import os
from pathlib import Path

from tools.room import config, settings, spawner

c = get_config()  # noqa: F821  # given by JupyterHub
kept = settings.read(Path(os.environ[settings.VARIABLE]))
config.configure(c, kept)
if kept.forked:
    spawner.forks.begin()

# Settings of your own go below and count more: https://jupyterhub.readthedocs.io/en/stable/reference/config-reference.html
