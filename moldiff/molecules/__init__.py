"""Molecules in RDKit's terms: conversion, bond perception, validity and numbers. Knows numpy and RDKit, no torch.

Import the modules themselves (``from moldiff.molecules import convert``): nothing is imported here, so that
``import moldiff`` stays fast and works without RDKit.
"""
