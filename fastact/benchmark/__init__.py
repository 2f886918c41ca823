"""Measuring: fastact beside NumPy's idioms and PyTorch, and telling a regression from noise.

``cases`` says what is measured, ``timing`` measures, ``results`` keeps figures; ``table``,
``plots``, ``history`` and ``page`` show them. ``gate`` measures two commits of any project in
turns, ``trial`` judges, ``comment`` says it; ``stored`` compares two files. Shared by ``fastact
bench``, ``report`` and ``compare`` and by the pytest-benchmark suites.
"""
