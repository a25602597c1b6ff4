"""A file of the user's that Python takes for torch, or for another module that is needed: found without importing any."""

import sys
from pathlib import Path

SHADOWS = {"torch", "torchvision", "numpy", "devicelab"}


def torch_in(folder: Path) -> Path | None:
    """Return what a folder has in place of torch: torch.py, or a package of that name that is not PyTorch."""
    file, package = folder / "torch.py", folder / "torch" / "__init__.py"
    if file.is_file():
        return file
    return package.parent if package.is_file() and not package.with_name("version.py").exists() else None


def behind(error: ImportError | AttributeError) -> Path | None:
    """Return the file in the folder where Python looks first that an import failed on, if it has a known module's name."""
    told = getattr(error, "path", None) or getattr(getattr(error, "obj", None), "__file__", None)
    path = Path(told) if told else None
    if path is None or path.parent != first_folder() or path.stem not in SHADOWS | sys.stdlib_module_names:
        return None
    return path


def first_folder() -> Path:
    """Return the folder where Python looks first for a module."""
    return Path(sys.path[0]).absolute()  # noqa: TID251  # read only


def sentence(other: Path, beside: str) -> str:
    """Say what a file, or a package, stands before."""
    return f"{other.name} lies beside {beside}: Python imports it in place of the module {other.stem}."


def rename(other: Path, system: str = sys.platform) -> str:
    """Return the command that takes it out of the way."""
    return f"{'ren' if system in ('win32', 'Windows') else 'mv'} {other.name} my_{other.name}"
