"""The command line: python -m devicelab."""

import sys

from . import shadow  # needs nothing that a file of the user's could stand before


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 unusable input, 130 interrupted."""
    try:
        from .commands import main as command

        return command(arguments)
    except Exception as error:
        other = shadow.behind(error)
        if other is None:
            raise
    print(f"devicelab: {shadow.advice(other, 'what you run')}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
