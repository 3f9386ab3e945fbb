"""Batteries mirrored at an MQTT broker, found by Home Assistant's discovery."""
