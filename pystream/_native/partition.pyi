"""No Python-visible names: partitions are installed through pystream._native.data_plane.DataPlane."""
