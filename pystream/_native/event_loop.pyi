"""No Python-visible names: Event loops run on threads of their own; data_plane starts and stops them."""
