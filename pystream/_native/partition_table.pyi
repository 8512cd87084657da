"""No Python-visible names: the table is changed through pystream._native.data_plane.DataPlane."""
