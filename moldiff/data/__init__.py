"""Data: the archive format, files, downloads, data sets and batches."""
