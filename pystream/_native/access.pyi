"""No Python-visible names: access bits are tested inside the data plane and set through DataPlane."""
