"""Behaviour tests of summarizers, as data: YAML cases, the checks on them, and their rates of failure.

They are CheckLists (Ribeiro et al. 2020): minimum functionality (an empty dialogue is refused, one turn is enough),
and invariance (filler, the order of unrelated turns, the speakers' names). What summaries make up needs no cases, and
is also counted on the predictions of the test split.
"""
