"""No Python-visible names: listeners are opened through pystream._native.data_plane.DataPlane."""
