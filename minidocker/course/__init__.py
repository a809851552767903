"""The course: what the notebooks import. See lab.py for the list, and notebooks/README.md for the lessons."""

from minidocker.course import views
from minidocker.course.checks.registry import check, hint
from minidocker.course.lab import lab
from minidocker.course.widgets import predict, quiz

__all__ = ["check", "hint", "lab", "predict", "quiz", "views"]
