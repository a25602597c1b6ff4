"""What a notebook draws: questions to answer, and pictures that move. Nothing else imports ipywidgets or anywidget.

forms    a choice, a number, buttons
picture  a picture that moves, drawn by an ES module
modules  these modules, and style.css for all of them, as text
"""

from .forms import buttons, choice, number, view

__all__ = ["buttons", "choice", "number", "view"]
