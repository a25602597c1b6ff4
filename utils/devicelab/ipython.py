"""%load_ext devicelab: a short box under the traceback of every error about devices or dtypes, in notebooks and in IPython."""

from typing import Any

from .explain import explain


def load_ipython_extension(shell: Any) -> None:
    """Switch the explanations on; a second time changes nothing."""
    unload_ipython_extension(shell)
    shell.events.register("post_run_cell", after_cell)


def unload_ipython_extension(shell: Any) -> None:
    """Switch the explanations off again; where they are off nothing happens."""
    for callback in list(shell.events.callbacks.get("post_run_cell", [])):
        original = getattr(callback, "__wrapped__", callback)
        if original is after_cell or callback is after_cell:
            shell.events.unregister("post_run_cell", callback)


def after_cell(result: Any = None) -> None:
    """Explain the error of the cell that just ran, if it is one about devices; other errors are left alone."""
    error = getattr(result, "error_in_exec", None)
    if error is None:
        return
    found = explain(error)
    if found.helps:
        from IPython.display import display

        display(found)
