"""The lessons' checks: registry.py holds check() and hint(), lesson_NN.py the checks of one lesson."""

from minidocker.course.checks.registry import Exercise, Miss, Work, check, exercise, hint

__all__ = ["Exercise", "Miss", "Work", "check", "exercise", "hint"]
