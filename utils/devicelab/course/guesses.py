"""The reply to each guess of the lessons, by question and option; none is ever marked as a fault."""

REPLIES: dict[str, dict[str, str]] = {}
