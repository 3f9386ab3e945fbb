"""Home Assistant with virtual batteries for long, faults at random, and an oracle."""
