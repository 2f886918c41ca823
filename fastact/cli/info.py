"""Show versions, instruction set, threads, and where compiled kernels are kept."""

from __future__ import annotations

import argparse

from fastact.public.environment import show_config

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``info`` has none."""


def run(options: argparse.Namespace) -> int:
    show_config()
    return 0
