"""How fast and how frugal the integration is; see `scripts/bench`."""
