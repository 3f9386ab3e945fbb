"""Stands in for a package that would have to be compiled.

Home Assistant's description of its actions imports the voice assistant; the demo has none.
"""


class MicroVad:
    """Finds speech in sound, in the real package."""
