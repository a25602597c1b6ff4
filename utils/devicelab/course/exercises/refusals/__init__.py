"""The judges of exercise 09.

counts  the bytes that a training takes, by hand and before there is a card
keeps   an evaluation and a step that keep more than they need
late    errors that come late: the line that is blamed, and labels that the loss does not know
"""
