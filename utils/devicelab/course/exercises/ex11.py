"""The checks of exercise 11: beyond one device."""

from devicelab.course.question import exercise

from .several.placing import judge_resume, judge_split
from .several.sharing import judge_batches, judge_who

questions = q1, q2, q3, q4 = exercise(11, judge_who, judge_batches, judge_resume, judge_split)
