"""The one command of the course: `python3 course.py lab` opens it, `python3 course.py test` checks it.

Nothing but Python and git is needed. This file stays readable for Python 2.7, so that an old Python can say that it is
too old; the work is done in tools/.
"""

from __future__ import print_function

import subprocess
import sys

OLDEST = (3, 11)
MINORS = (13, 12, 11)


def newer_python():
    """Return the command of a Python on this machine that is new enough, or None."""
    for minor in MINORS:
        command = ["py", "-3.%d" % minor] if sys.platform == "win32" else ["python3.%d" % minor]
        try:
            process = subprocess.Popen(command + ["-c", ""], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except (OSError, ValueError):
            continue
        process.communicate()
        if process.returncode == 0:
            return " ".join(command)
    return None


def too_old(version):
    """Return one clear sentence and the next step for a Python of this version."""
    here = newer_python()
    step = "Get one from https://www.python.org/downloads/ and give the same command with it."
    if here:
        step = "There is one here: %s %s" % (here, " ".join(sys.argv))
    return "The course needs Python %d.%d or newer, and this is Python %d.%d. %s" % (
        OLDEST + version + (step,)
    )


if __name__ == "__main__":
    if sys.version_info < OLDEST:
        sys.exit(too_old(sys.version_info[:2]))
    from tools.cli import main

    sys.exit(main())
