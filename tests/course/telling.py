"""What tests of exercises ask of a check."""


def told(question, *answer):
    """Return what the check says to an answer that does not pass."""
    outcome = question.check(*answer)
    assert outcome.state == "not yet"
    return outcome.text
