"""What the notebooks ask of a learner: guesses before a run, questions after it."""
