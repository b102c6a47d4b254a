"""Crystals in the terms of ASE, pymatgen and spglib: conversion, validity and numbers. Knows numpy, no torch.

Import the modules themselves (``from moldiff.crystals import convert``): nothing is imported here, so that
``import moldiff`` stays fast and works without pymatgen.
"""
