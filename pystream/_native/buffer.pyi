# No name of this module is visible in Python: buffer.pxd is its face, Reader and Writer of wire.pyi are what Python sees.
