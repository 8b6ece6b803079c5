"""Builds the toy kernel and its crash dump; needed only to make the sample anew."""
