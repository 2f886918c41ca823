"""Measuring: fastact beside NumPy's idioms and PyTorch, and telling a regression from noise.

``cases`` says what is measured, ``timing`` measures, ``results`` keeps figures, ``gate`` compares
two files of them, ``report`` shows them. Shared by ``fastact bench``, ``fastact compare`` and the
pytest-benchmark suites.
"""
