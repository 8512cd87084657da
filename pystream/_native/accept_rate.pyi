"""No Python-visible names: how fast connections may come is set by DataPlane.bound_addresses() and bound_listeners()."""
