"""The judges of exercise 12.

rules  where TensorFlow and JAX run an operation: what stored runs say, and the rules as functions
moves  what a trainer moves: a batch of any shape, and a model made ready for it
"""
