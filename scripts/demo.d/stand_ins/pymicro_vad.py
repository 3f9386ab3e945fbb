"""Stands in for a package that would have to be compiled.

Home Assistant imports its voice assistant at every start; the demo has no use for it.
"""


class MicroVad:
    """Finds speech in sound, in the real package."""
