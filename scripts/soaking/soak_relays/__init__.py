"""Switches that play relays, good ones and bad ones."""
