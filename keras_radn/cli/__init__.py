"""The command `keras-radn`.

Modules here import at their top only what its help needs, and in `run` what the
work needs: help and errors of the command line come at once.
"""
