"""Show versions, instruction set, threads, where compiled kernels are kept, and integrations."""

from __future__ import annotations

import argparse

from fastact import integrations
from fastact.public.environment import show_config

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``info`` has none."""


def run(options: argparse.Namespace) -> int:
    show_config()
    print("\nfastact.integrations:")
    for integration in integrations.list():
        print(f"  {integration.name:8} {integration}")
    return 0
