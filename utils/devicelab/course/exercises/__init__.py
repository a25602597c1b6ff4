"""The questions of each exercise, with their judges: ex01 to ex12 as the notebooks are numbered.

refusals  the judges of exercise 09
several   the judges of exercise 11
frameworks  the judges of exercise 12
rescue    the capstone's training script with its eight faults, and how a copy of it is run
"""
