"""Measuring: fastact beside NumPy's idioms and PyTorch, and telling a regression from noise.

``cases`` says what is measured, ``timing`` measures, ``results`` keeps figures, ``gate`` compares
two files of them, ``table``, ``plots`` and ``page`` show them. Shared by ``fastact bench``,
``report`` and ``compare`` and by the pytest-benchmark suites.
"""
