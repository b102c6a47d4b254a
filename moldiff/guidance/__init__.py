"""Steering what comes out: wrapped denoisers and callbacks of the sampler. Knows no chemistry."""
