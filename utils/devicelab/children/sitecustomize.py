"""What Python runs as it starts where devicelab tells its children something: it waits for torch, and loads nothing before.

Any Python 3 may come here, also one that has no devicelab.
"""

import os
import sys

MISSING = "devicelab: it is not installed for this Python, which so has no simulated GPU and is not watched."


class AfterTorch:
    """Finds torch as the other finders do, and has the child do what it was told once torch is there."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name not in ("torch", "devicelab"):
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self.follow(spec.loader, self.begin if name == "torch" else import_torch)
        return spec

    def follow(self, loader, goes_on):  # type: ignore[no-untyped-def]
        """Have a loader go on to something when it has run the module."""
        run = loader.exec_module

        def exec_module(module):  # type: ignore[no-untyped-def]
            del loader.exec_module
            run(module)
            goes_on()

        loader.exec_module = exec_module

    def begin(self):  # type: ignore[no-untyped-def]
        """Stand in the way no more, and do what was told."""
        sys.meta_path.remove(self)
        begin()


def import_torch():  # type: ignore[no-untyped-def]
    """Have torch there before devicelab's modules: one of them would import it, and be half a module when all begins."""
    try:  # noqa: SIM105  # contextlib would be loaded
        import torch  # noqa: F401
    except ImportError:  # whoever needs it will say so
        pass


def begin():  # type: ignore[no-untyped-def]
    try:
        from devicelab import children
    except ImportError as error:
        if error.name != "devicelab":
            raise
        print(MISSING, file=sys.stderr)
    else:
        children.begin()


def give_way():  # type: ignore[no-untyped-def]
    """Leave the path, and run the sitecustomize that Python would have run."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [item for item in sys.path if item != folder]  # noqa: TID251  # as it would be without us
    this = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", this)  # Python looks for it there


if __name__ == "sitecustomize":
    if "DEVICELAB_CHILDREN" in os.environ:
        sys.meta_path.insert(0, AfterTorch())
    give_way()
