"""What all tests share: a simulated time that depends on no machine. tests/package/test_host.py measures this one."""

import os

os.environ.setdefault("DEVICELAB_HOST", "nominal")
