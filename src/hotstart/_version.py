"""The version of hotstart."""

__version__ = "0.1.0"
