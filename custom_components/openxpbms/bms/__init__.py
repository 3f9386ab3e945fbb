"""The battery half: RS485 bus, battery families and virtual batteries.

Complete by itself: it needs serialx alone and knows nothing of Home Assistant.
"""
