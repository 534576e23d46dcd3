"""The command `keras-radn`."""
