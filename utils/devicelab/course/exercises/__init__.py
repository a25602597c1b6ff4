"""The questions of each exercise, with their judges: ex01 to ex11 as the notebooks are numbered.

refusals  the judges of exercise 09
several   the judges of exercise 11
rescue    the capstone's training script with its eight faults, and how a copy of it is run
"""
