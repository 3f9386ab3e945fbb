"""The screen of `openxpbms console`."""
