"""Show versions, instruction set, threads, cached kernels and integrations."""

from __future__ import annotations

import argparse

from fastact import integrations
from fastact.cli.cache import summary
from fastact.public.environment import show_config

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``info`` has none."""


def run(options: argparse.Namespace) -> int:
    show_config()
    print("\n" + "\n".join(summary()))
    print("\nfastact.integrations:")
    for integration in integrations.list():
        print(f"  {integration.name:8} {integration}")
    return 0
