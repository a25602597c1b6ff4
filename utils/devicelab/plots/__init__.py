"""Pictures of what was measured elsewhere; nothing here measures. Each is a PNG with the sentence that says what it shows."""

from .load import load
from .picture import Picture
from .timeline import timeline

__all__ = ["Picture", "load", "timeline"]
