"""Where ``ActivationStats`` once was, and where pickles of that time look for it."""

from fastact.fused.statistics import ActivationStats

__all__ = ["ActivationStats"]
