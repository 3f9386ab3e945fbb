"""What all tests need."""

from __future__ import annotations

# The test harness brings a package of the same name: ours must be there first.
import custom_components  # noqa: F401
