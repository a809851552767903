"""The lessons' drawings: lesson_NN.py holds functions without arguments that return a plots.Picture; lab.figure("name") shows one."""
