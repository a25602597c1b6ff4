"""The checks of exercise 09: when the GPU says no."""

from devicelab.course.question import exercise

from .refusals.counts import judge_held, judge_needs
from .refusals.keeps import judge_evaluate, judge_step
from .refusals.late import judge_blamed, judge_loss

questions = q1, q2, q3, q4, q5, q6 = exercise(
    9, judge_held, judge_evaluate, judge_step, judge_needs, judge_blamed, judge_loss
)
