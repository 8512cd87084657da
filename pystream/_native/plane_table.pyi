"""No Python-visible names: `DataPlane` is the face."""
