"""What a notebook draws: questions to answer, and pictures that move. Nothing else imports ipywidgets or anywidget.

forms    a choice, a number
picture  a picture that moves: one ES module beside it, and style.css for all of them
"""

from .forms import choice, number

__all__ = ["choice", "number"]
