"""The questions of each exercise, with their judges: ex01 to ex10 as the notebooks are numbered.

refusals  the judges of exercise 09
rescue    the capstone's training script with its eight faults, and how a copy of it is run
"""
