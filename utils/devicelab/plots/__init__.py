"""Pictures of what was measured elsewhere; nothing here measures. Each is a PNG with the sentence that says what it shows."""

from .load import load
from .picture import Picture
from .sizes import sizes
from .timeline import timeline

__all__ = ["Picture", "load", "sizes", "timeline"]
