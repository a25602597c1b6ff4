"""A file of the user's that Python takes for torch, or for another module that is needed: found without importing any.

This module itself imports only what Python has loaded before it looks into the user's folder.
"""

import os
import sys

SHADOWS = {"torch", "torchvision", "numpy", "devicelab"}


def torch_in(folder: str | os.PathLike[str]) -> str | None:
    """Return what a folder has in place of torch: torch.py, or a package of that name that is not PyTorch."""
    file, package = os.path.join(folder, "torch.py"), os.path.join(folder, "torch")
    if os.path.isfile(file):
        return file
    return package if _is_package(package) and not _is_genuine(package) else None


def behind(error: BaseException) -> str | None:
    """Return the file or package on which an error hangs, if it lies where Python looks first and has a known module's name."""
    told = getattr(error, "path", None) or getattr(getattr(error, "obj", None), "__file__", None)
    files = [told] if isinstance(told, str) else []
    trace = error.__traceback__
    while trace is not None:  # the file may fail by itself, as what it does is meant for elsewhere
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return next((found for file in files if (found := _in_the_way(file))), None)


def _in_the_way(file: str) -> str | None:
    folder, name = os.path.split(os.path.abspath(file))
    one = folder if name == "__init__.py" else os.path.join(folder, name)
    known = _module(one) in SHADOWS | sys.stdlib_module_names and not _is_genuine(one)
    return one if known and os.path.dirname(one) == first_folder() else None


def _is_genuine(package: str) -> bool:
    """Say whether a package is PyTorch's or this one: Python may be started in the folder where they are installed."""
    return package == os.path.dirname(os.path.abspath(__file__)) or os.path.exists(
        os.path.join(package, "version.py")
    )


def _is_package(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "__init__.py"))


def _module(path: str | os.PathLike[str]) -> str:
    return os.path.basename(path).partition(".")[0]


def unheeded(folder: str | os.PathLike[str]) -> list[str]:
    """Return what Python would import from a folder in place of modules of its own, had these not been loaded before."""
    names = (sys.stdlib_module_names & set(sys.modules)) - set(sys.builtin_module_names) - _AT_START
    try:
        there = [one for one in os.listdir(folder or ".") if _module(one) in names]
    except OSError:  # a folder that lets its files be read, and no list of them
        return []
    paths = [os.path.join(folder, one) for one in sorted(there)]
    return [path for path in paths if path.endswith(".py") or _is_package(path)]


# Loaded before Python knows of a script: a file of such a name changes nothing.
_AT_START = {
    "abc", "codecs", "encodings", "genericpath", "io", "ntpath", "os", "posixpath", "site", "stat", "zipimport",
    "_collections_abc", "_sitebuiltins",
}  # fmt: skip


def first_folder() -> str:
    """Return the folder where Python looks first for a module."""
    return os.path.abspath(sys.path[0])  # noqa: TID251  # read only


def sentence(other: str | os.PathLike[str], beside: str) -> str:
    """Say what a file, or a package, stands before."""
    return f"{os.path.basename(other)} lies beside {beside}: Python imports it in place of the module {_module(other)}."


def rename(other: str | os.PathLike[str], system: str = sys.platform) -> str:
    """Return the command that takes it out of the way."""
    name = os.path.basename(other)
    return f"{'ren' if system in ('win32', 'Windows') else 'mv'} {name} my_{name}"


def advice(other: str | os.PathLike[str], beside: str) -> str:
    """Say what it stands before and how to take it out of the way."""
    return f"{sentence(other, beside)} Rename it: {rename(other)}"
