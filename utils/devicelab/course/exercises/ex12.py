"""The checks of exercise 12: is it the same elsewhere?"""

from devicelab.course.question import exercise

from .frameworks.moves import judge_scorer, judge_send
from .frameworks.rules import judge_call, judge_lands, judge_products

questions = q1, q2, q3, q4, q5 = exercise(
    12, judge_products, judge_call, judge_send, judge_scorer, judge_lands
)
