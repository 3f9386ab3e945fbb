"""Stands in for a package that would have to be compiled; see pymicro_vad.py."""


class AudioProcessor:
    """Takes noise out of sound, in the real package."""
