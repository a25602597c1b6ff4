"""The ES modules beside this file as a notebook keeps them: each with what it imports, because it can fetch nothing."""

import re
from importlib import resources

_IMPORT = re.compile(r'^import [^;]* from "\./(\w+)\.js";$', re.MULTILINE)


def standalone(module: str) -> str:
    """Return an ES module with all that it imports before it: the module that a notebook keeps can fetch nothing.

    Comments and indentation, a fifth of its bytes, stay out of the notebook.
    """
    texts = [source(f"{name}.js") for name in _with_imports(module)]
    shared = (re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE) for text in texts)
    lines = (line.strip() for text in shared for line in _IMPORT.sub("", text).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(("//", "/**")))


def _with_imports(module: str, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of the modules that one needs, each after those that it needs itself."""
    for name in _IMPORT.findall(source(f"{module}.js")):
        known = _with_imports(name, known)
    return known if module in known else (*known, module)


def source(name: str) -> str:
    """Return the text of a file beside this one."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")
