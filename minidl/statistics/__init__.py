"""Statements about random draws that hold for any number of them, each with a stated rate of false alarms.

`bounds` says how far a statistic may be from its expectation, `distributions` what draws are compared with.
"""
