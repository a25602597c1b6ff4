"""The part of a page that is written by a tool: between the marks <!-- NAME:begin --> and <!-- NAME:end -->."""

import re

from tools.setup.say import Stop


def filled(text: str, name: str, block: str) -> str:
    """Return a page's text with `block` between the marks of this name, which it must hold once each."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    between = re.compile(f"{begin}.*?{end}", re.DOTALL)
    if len(between.findall(text)) != 1:
        raise Stop(f"The page must hold {begin} and {end} once each, in this order.")
    return between.sub(lambda _: f"{begin}\n{block}\n{end}", text)
