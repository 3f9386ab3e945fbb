"""The command, where its package is not installed: python -m openxpbms.cli."""

from . import main

main()
